"""Appended to paramiko's own tests/conftest.py: its SFTP tests then talk to the conformance server."""

import os

import pytest

from paramiko import Ed25519Key, Transport


@pytest.fixture
def sftp_server():
    """A connection to the server at 127.0.0.1:SFTP_PORT, whose root is the folder the tests run in."""
    transport = Transport(("127.0.0.1", int(os.environ["SFTP_PORT"])))
    transport.connect(username="tester", pkey=Ed25519Key.from_private_key_file(os.environ["SFTP_KEY"]))
    yield transport
    transport.close()
