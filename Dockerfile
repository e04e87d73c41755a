# The gateway as an image: docker build -t gateway .   (or: buildah bud -t gateway .)
# Any image with Python 3.11 or later, venv and pip can be the base: --build-arg BASE=…
ARG BASE=python:3.12-slim

FROM ${BASE} AS build
WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY config ./config
COPY gateway ./gateway
# the environment has no pip of its own: what is not in it can't be run in the image
RUN python3 -m venv --without-pip /opt/gateway \
 && python3 -m pip --python /opt/gateway/bin/python install --no-cache-dir --constraint constraints.txt .

FROM ${BASE}
# the folders of the home exist with their owner, so that a new volume mounted on one of them has it too
RUN rm -rf /usr/local/bin/pip* /usr/local/lib/python3*/site-packages/pip* \
           /usr/lib/python3/dist-packages/pip* /usr/bin/pip* \
 && useradd --uid 10001 --user-group --home-dir /var/lib/gateway --no-create-home --shell /usr/sbin/nologin gateway \
 && install --directory --owner=gateway --group=gateway --mode=0700 \
            /var/lib/gateway /var/lib/gateway/config /var/lib/gateway/keys /var/lib/gateway/data /var/lib/gateway/log
COPY --from=build /opt/gateway /opt/gateway
# also for what an administrator runs beside it: docker exec … gateway status
ENV PATH=/opt/gateway/bin:$PATH \
    GATEWAY_HOME=/var/lib/gateway \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /var/lib/gateway
EXPOSE 2222
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["gateway", "health"]
ENTRYPOINT ["gateway"]
CMD ["serve"]
