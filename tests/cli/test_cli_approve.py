"""Two people approve: as they do it, with the real ssh-keygen, on a real home whose system clock the test holds."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from gateway.clock import AMSTERDAM, SteppedClock
from gateway.domain.approval import ApprovalState
from gateway.domain.request import RequestState
from gateway.errors import ClockRefused, KeyringError
from gateway.pipeline.sealing import open_key
from gateway.pipeline.worker import step
from gateway.retention import approvals as asking
from gateway.retention import ring
from gateway.retention.approval_shelf import ApprovalShelf
from gateway.store import approvals, data_keys, heartbeat, requests
from gateway.vault.objects import dispatched_file
from gateway.vault.stream import SealedReader

ROWS = ("s1;Huur;k1;Bakker;7938PL;18;600;60;J", "s2;Huur;k2;Visser;7938PL;20;700;60;J")


def at(day: str, hour: int = 9) -> datetime:
    """An hour of a day in the Netherlands."""
    return datetime.combine(date.fromisoformat(day), datetime.min.time(), AMSTERDAM) + timedelta(hours=hour)


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> dict[str, Path]:
    """The private keys of three approvers, made by ssh-keygen."""
    folder = tmp_path_factory.mktemp("people")
    for name in ("archivaris", "controller", "fg"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", folder / name], check=True
        )
    return {path.stem: path.with_suffix("") for path in folder.glob("*.pub")}


@pytest.fixture
def clock(monkeypatch) -> SteppedClock:
    """The host's clock, for every command and every gateway that is opened without one."""
    clock = SteppedClock(at("2026-11-03"))
    for module in ("gateway.gateway", "gateway.cli.doctor"):
        monkeypatch.setattr(f"{module}.SystemClock", lambda: clock)
    return clock


@pytest.fixture
def place(house, people, clock) -> Iterator[Place]:
    """A home whose municipality approves each month; two people may."""
    yield Place(house, people, clock)
    structlog.reset_defaults()


class Place:
    """A home, its approvers and its clock."""

    def __init__(self, house, people, clock):
        self.house, self.people, self.clock = house, people, clock
        self.made = 0
        self.name_approvers("archivaris", "controller")

    def name_approvers(self, *names: str) -> None:
        lines = [
            f'{name} namespaces="retention@gateway" {self.people[name].with_suffix(".pub").read_text()}'
            for name in names
        ]
        (self.house.home / "config/approvers").write_text("".join(lines))

    def configure(self, **mandate: str) -> None:
        path = self.house.home / "config/municipalities/GM1731.toml"
        text = path.read_text().partition("\n[mandate]")[0]
        lines = "".join(f'{name} = "{value}"\n' for name, value in mandate.items())
        path.write_text(f"{text}\n[mandate]\n{lines}")

    def receive(self) -> None:
        self.house.receive(
            "woonservice", "signalen.csv", self.house.write("s.csv", *ROWS).read_bytes(), self.clock
        )
        with self.house.opened() as opened:
            while step(opened.pipeline()):
                pass
            opened.beat()

    def send(self, user: str, content: bytes) -> dict[str, object]:
        """A file is received and processed; its receipt."""
        self.house.receive(user, "handtekening.sig", content, self.clock)
        with self.house.opened() as opened:
            context = opened.pipeline()
            while step(context):
                pass
            with opened.store.read() as conn:
                found = conn.exec_driver_sql(
                    "SELECT d.id, d.partner_id, d.blob, d.delivery_id FROM dispatch d JOIN delivery i ON i.id = "
                    "d.delivery_id WHERE d.name LIKE 'ontvangst_%.json' ORDER BY i.arrival DESC LIMIT 1"
                ).one()
                stored = data_keys.of_object(conn, found.id)
            file = dispatched_file(
                partner=found.partner_id, delivery=found.delivery_id, dispatch=found.id, kind="receipt"
            )
            with opened.blobs.open(found.blob) as blob:
                key = open_key(context, stored).file_key(found.id)
                return json.loads(b"".join(SealedReader(key, file, blob.read_at, blob.size).chunks()))

    def wait_until(self, day: str, hour: int = 9) -> None:
        """The days pass with a gateway that runs: its heart beats, its keys are made."""
        with self.house.opened() as opened:
            while self.clock.now() < at(day, hour):
                self.clock.set(min(at(day, hour), self.clock.now() + timedelta(days=1)))
                opened.beat()
            opened.make_keys()

    def purge(self) -> list[dict[str, object]]:
        """What the schedule does at night; what it logged."""
        with capture_logs() as logged, self.house.opened() as opened:
            opened.purge()
        return logged

    def asked(self, state: str = "open") -> list[dict[str, object]]:
        return [each for each in self.house.json("retention", "approve") if each["state"] == state]

    def text(self, number: str) -> Path:
        """The text to sign, saved from standard output as the command says."""
        ran = self.house.run("retention", "approve", number)
        assert ran.code == 0, ran.err
        path = self.house.path / f"goedkeuring_{number}.txt"
        path.write_text(ran.out)
        return path

    def sign(
        self, number: str, who: str, text: Path | None = None, namespace: str = "retention@gateway"
    ) -> Path:
        """The very command that the text names; its signature, out of the way of the next."""
        path = text or self.text(number)
        made = path.with_name(f"{path.name}.sig")
        made.unlink(missing_ok=True)
        subprocess.run(
            ["ssh-keygen", "-Y", "sign", "-n", namespace, "-f", self.people[who], path],
            check=True,
            capture_output=True,
        )
        self.made += 1
        return made.rename(path.with_name(f"{self.made}.{who}.sig"))

    def hand_in(self, number: str, *files: Path):
        """`gateway retention approve NUMBER --signature FILE …`."""
        options = [word for file in files for word in ("--signature", file)]
        return self.house.run("retention", "approve", number, *options)

    def approve(self, number: str) -> None:
        """Both sign."""
        ran = self.hand_in(number, *(self.sign(number, who) for who in ("archivaris", "controller")))
        assert ran.code == 0, ran.err

    def signals(self) -> int:
        """How many are held."""
        with self.house.opened() as opened, opened.store.read() as conn:
            return approvals.falling_due(conn, "GM1731", through=date.max)["signals"]

    def entries(self, action: str) -> list[dict[str, object]]:
        ran = self.house.run("audit", "show", "--json", "--last", "500")
        return [each for each in json.loads(ran.out) if each["action"] == action]


def test_a_month_goes_when_two_people_approved_it(place):
    """Asked two weeks before its first day; overdue it is blocked and an alarm; approved it goes, and they are named."""
    place.configure(approval="per_batch", reference="B&W 2026/12")
    place.receive()
    place.wait_until("2027-04-16", 3)
    place.purge()
    assert place.asked() == []
    place.wait_until("2027-04-17", 3)
    place.purge()
    (request,) = place.asked()
    assert (request["subject"], request["object"]) == ("vernietiging", "GM1731-2027-05")
    assert (request["through"], request["detail"]["signals"]) == ("2027-05-31", 2)

    place.wait_until("2027-05-05", 3)
    logged = place.purge()
    assert [each["municipality"] for each in logged if each["event"] == "approval.awaited"] == ["GM1731"]
    assert place.signals() == 2
    late = place.house.json("status")["approvals"]["overdue"]
    assert (late[0]["municipality"], late[0]["approved_through"], late[0]["signals"]) == ("GM1731", None, 2)
    assert "overdue" in place.house.run("retention", "due").out
    assert "overdue without approval" in place.house.run("doctor").out

    number = request["number"]
    first = place.hand_in(number, place.sign(number, "archivaris"))
    assert (first.code, "One more person" in first.out) == (0, True)
    place.purge()
    assert place.signals() == 2
    place.clock.step(timedelta(minutes=1))
    second = place.hand_in(number, place.sign(number, "controller"))
    assert (second.code, "with the next purge" in second.out) == (0, True)
    place.purge()
    assert place.signals() == 0
    assert place.house.json("status")["approvals"]["overdue"] == []

    listed = place.house.json("retention", "certificate")
    made = [place.house.json("retention", "certificate", each["number"]) for each in listed]
    (made,) = [each for each in made if any(item["soort"] == "signalen" for item in each["vernietigd"])]
    (given,) = made["goedgekeurd_door"]
    assert (given["verzoek"], given["tot_en_met"]) == (number, "2027-05-31")
    assert [each["functie"] for each in given["ondertekenaars"]] == ["archivaris", "controller"]
    (signed, again) = place.entries("approval.signed")
    assert {signed["detail"]["key"], again["detail"]["key"]} == {
        each["sleutel"] for each in given["ondertekenaars"]
    }
    assert "archivaris" not in json.dumps(place.entries("approval.given"))


def test_nobody_approves_alone_and_no_foreign_signature_counts(place):
    """One person twice, someone who is no approver, another text, another purpose: refused, and said why."""
    place.configure(approval="per_batch")
    place.receive()
    place.wait_until("2027-04-20", 3)
    place.purge()
    (request,) = place.asked()
    number = request["number"]
    assert place.hand_in(number, place.sign(number, "archivaris")).code == 0
    other = place.text(number).with_name("other.txt")
    other.write_text(place.text(number).read_text().replace("2027-05-31", "2027-06-30"))
    for file, reason in (
        (place.sign(number, "archivaris"), "archivaris signed"),
        (place.sign(number, "fg"), "no key of config/approvers"),
        (place.sign(number, "controller", other), "does not fit the text"),
        (place.sign(number, "controller", namespace="file"), "sign with -n retention@gateway"),
        (other, "no SSH signature"),
        (other.with_name("missing.sig"), "can't be read"),
    ):
        ran = place.hand_in(number, file)
        assert (ran.code, reason in ran.err) == (1, True), ran.err
        assert [each["number"] for each in place.asked()] == [number]
    # an approver who was taken out of the file
    signature = place.sign(number, "controller")
    place.name_approvers("archivaris", "fg")
    assert place.hand_in(number, signature).code == 1
    # two keys of one person are one person
    lines = (place.house.home / "config/approvers").read_text().replace("fg ", "archivaris ")
    (place.house.home / "config/approvers").write_text(lines)
    ran = place.hand_in(number, place.sign(number, "fg"))
    assert (ran.code, "archivaris signed" in ran.err) == (1, True)
    place.name_approvers("archivaris", "controller")
    assert place.hand_in(number, signature).code == 0


def test_a_request_can_be_taken_back_and_is_asked_anew(place):
    """Dropped, nothing comes of its signatures; the next night asks again, with another text."""
    place.configure(approval="per_batch")
    place.receive()
    place.wait_until("2027-04-20", 3)
    place.purge()
    (request,) = place.asked()
    signature = place.sign(request["number"], "archivaris")
    ran = place.house.run("retention", "approve", request["number"], "--drop")
    assert (ran.code, place.asked()) == (0, [])
    assert place.hand_in(request["number"], signature).code == 1
    assert place.house.run("retention", "approve", request["number"], "--drop").code == 1
    place.purge()
    (again,) = place.asked()
    assert again["object"] == request["object"]
    assert place.hand_in(again["number"], signature).code == 1
    assert place.house.run("retention", "approve", "G-2027-009999").code == 1


def test_who_need_not_approve_any_more_is_not_asked(place):
    """The municipality chose otherwise: what was asked in the other way is dropped, and nothing waits."""
    place.configure(approval="per_batch")
    place.receive()
    place.wait_until("2027-05-05", 3)
    place.purge()
    (batch,) = place.asked()
    place.configure(approval="standing")
    place.purge()
    assert [each["subject"] for each in place.asked()] == ["doorlopende-vernietiging"]
    assert place.signals() == 2
    place.configure(approval="mandate")
    place.purge()
    assert (place.asked(), place.signals()) == ([], 0)
    assert {each["object"] for each in place.entries("approval.dropped")} >= {batch["number"]}


def test_standing_approval_lets_go_on_the_day_until_it_ends(place):
    """Once signed it needs nobody for a year, and is asked again in time; the mandate bounds it."""
    place.configure(approval="standing", reference="B&W", until="2027-10-31")
    place.receive()
    place.purge()
    (request,) = place.asked()
    assert (request["subject"], request["through"]) == ("doorlopende-vernietiging", "2027-10-31")
    place.approve(request["number"])
    place.wait_until("2027-05-04", 3)
    place.purge()
    assert place.signals() == 0
    assert place.asked() == []
    place.wait_until("2027-06-01")
    place.configure(approval="standing", reference="B&W", until="2028-10-31")
    place.receive()
    place.wait_until("2027-10-17", 3)
    place.purge()
    (request,) = place.asked()
    assert request["through"] == "2028-10-31"
    place.wait_until("2027-12-05", 3)
    place.purge()
    assert place.signals() == 2
    assert [each["municipality"] for each in place.house.json("status")["approvals"]["overdue"]] == ["GM1731"]
    place.approve(request["number"])
    place.purge()
    assert place.signals() == 0


def test_a_key_goes_before_its_day_when_two_approved(place):
    """The command asks and changes nothing; the second signature destroys it."""
    place.receive()
    key = place.house.home / "keys/ring/until-2027-05-03.key"
    for _ in range(2):
        ran = place.house.run("keys", "destroy", "until-2027-05-03")
        assert (ran.code, key.exists()) == (1, True)
    (request,) = place.asked()
    assert request["number"] in ran.err
    assert (request["object"], request["detail"]["signals"]) == ("until-2027-05-03", 2)
    before = key.read_bytes()
    place.approve(request["number"])
    assert not key.exists() or key.read_bytes() != before
    assert place.entries("key.destroyed")[0]["object"] == "until-2027-05-03"
    assert place.entries("approval.carried_out")[0]["object"] == request["number"]
    place.purge()
    assert place.signals() == 0


def test_the_municipality_gets_the_text_in_its_outbox(place):
    """Byte for byte what is to be signed, with its manifest, once."""
    place.configure(approval="per_batch")
    place.receive()
    place.wait_until("2027-04-20", 3)
    place.purge()
    place.purge()
    (request,) = place.asked()
    with place.house.opened() as opened, opened.store.read() as conn:
        names = [
            row.name
            for row in conn.exec_driver_sql(
                "SELECT name FROM dispatch WHERE kind IN ('approval', 'manifest')"
            )
        ]
    assert f"goedkeuring_{request['number']}.txt" in names
    assert f"goedkeuring_{request['number']}.txt.manifest.json" in names
    assert len(names) == len(set(names))


def test_a_municipality_signs_in_its_inbox(place, key_file):
    """Its archivist's signature is taken with a receipt that names the request; the controller's comes by command."""
    place.configure(approval="per_batch")
    place.receive()
    place.wait_until("2027-05-05", 3)
    place.purge()
    wanted = {each["object"]: each["number"] for each in place.asked()}
    assert wanted.keys() == {"GM1731-2027-05"}
    (number,) = wanted.values()
    signature = place.sign(number, "archivaris").read_bytes()
    receipt = place.send("middendrenthe", signature)
    assert (receipt["resultaat"], receipt["bestand"]["goedkeuring"]) == ("verwerkt", number)
    (request,) = place.asked()
    assert [each["principal"] for each in request["signatures"]] == ["archivaris"]
    assert place.entries("approval.signed")[0]["actor"] == "middendrenthe"

    other = place.text(number).with_name("other.txt")
    other.write_text(place.text(number).read_text() + " ")
    for content, code in (
        (signature, "F11"),  # again
        (place.sign(number, "fg").read_bytes(), "F11"),
        (place.sign(number, "controller", other).read_bytes(), "F11"),
        (place.sign(number, "controller", namespace="file").read_bytes(), "F11"),
        (signature[:-10], "F11"),
        (signature + b"x" * 20_000, "F06"),
    ):
        receipt = place.send("middendrenthe", content)
        assert receipt["weigering"]["code"] == code
        assert "goedkeuring" not in receipt["bestand"]
    # who does not serve the municipality signs nothing of it, with whatever key
    place.house.run("municipality", "add", "GM0114")
    told = ("--role", "municipality", "--serves", "GM0114", "--key", key_file("emmen"))
    assert place.house.run("partner", "add", "emmen", *told).code == 0
    for user in ("emmen", "woonservice"):
        receipt = place.send(user, place.sign(number, "controller").read_bytes())
        assert receipt["resultaat"] == "geweigerd"
    assert len(place.asked()[0]["signatures"]) == 1

    assert place.hand_in(number, place.sign(number, "controller")).code == 0
    place.purge()
    assert place.signals() == 0
    receipt = place.send("middendrenthe", place.sign(number, "controller").read_bytes())
    assert "geen open verzoek" in receipt["weigering"]["toelichting"]


def test_an_auditor_checks_the_approvals_alone(place, tmp_path):
    """From the folder of /audit: ssh-keygen says who signed which text; another municipality's auditor sees none."""
    place.configure(approval="per_batch")
    place.receive()
    place.wait_until("2027-05-05", 3)
    place.purge()
    (request,) = place.asked()
    place.approve(request["number"])
    with place.house.opened() as opened:
        shelf = ApprovalShelf(opened.store)
        shown = {each.name: each.size for each in shelf.listing((), ("GM1731",))}
        for name, size in shown.items():
            data = shelf.document((name,), ("GM1731",)).data
            assert len(data) == size
            (tmp_path / name).write_bytes(data)
        assert [each.name for each in shelf.listing((), ("GM0303",))] == ["allowed_signers"]
        assert shelf.document((f"goedkeuring_{request['number']}.txt",), ("GM0303",)) is None
        assert shelf.document(("allowed_signers",), ("GM0303",)).data == b""
        assert shelf.listing(("x",), None) is shelf.document(("x",), None) is None
    text = f"goedkeuring_{request['number']}.txt"
    assert set(shown) == {"allowed_signers", text, f"{text}.archivaris.sig", f"{text}.controller.sig"}
    for who, content, good in (
        ("archivaris", (tmp_path / text).read_bytes(), True),
        ("controller", (tmp_path / text).read_bytes(), True),
        ("controller", (tmp_path / text).read_bytes()[:-1], False),
    ):
        command = [
            "ssh-keygen",
            "-Y",
            "verify",
            "-f",
            "allowed_signers",
            "-I",
            who,
            "-n",
            "retention@gateway",
        ]
        done = subprocess.run(
            [*command, "-s", f"{text}.{who}.sig"],
            input=content,
            cwd=tmp_path,
            check=False,
            capture_output=True,
        )
        assert (done.returncode == 0) == good


def test_what_ended_long_ago_is_forgotten_and_what_is_in_force_is_not(place):
    """After 7 years, as the certificates that name it."""
    place.configure(approval="per_batch")
    place.receive()
    place.wait_until("2027-04-20", 3)
    place.purge()
    (request,) = place.asked()
    place.approve(request["number"])
    with place.house.opened() as opened:
        with opened.store.write() as conn:
            approvals.forget(conn, ended_before=at("2027-05-31", 23))
            assert approvals.get(conn, request["number"]) is not None
            approvals.forget(conn, ended_before=at("2027-06-02"))
            assert approvals.get(conn, request["number"]) is None


# -- the clock -------------------------------------------------------------------------------------


def test_nothing_is_destroyed_by_a_clock_that_went_back(place):
    """The purge is refused, says what to do, and changes nothing; right again, it goes on."""
    place.receive()
    place.clock.step(-timedelta(minutes=6))
    ran = place.house.run("retention", "run")
    assert (ran.code, "timedatectl" in ran.err) == (1, True)
    assert place.entries("purge.started") == []
    assert "timedatectl" in place.house.json("status")["approvals"]["clock"]
    assert "went back" in place.house.run("doctor").out
    place.clock.step(timedelta(minutes=2))
    assert place.house.run("retention", "run").code == 0


def test_a_clock_that_jumped_needs_two_people(place):
    """27 hours after the last heartbeat nothing goes: neither by command nor by schedule; approved, it goes."""
    place.receive()
    place.clock.set(at("2027-05-05"))
    with place.house.opened() as opened:
        opened.make_keys()
        with capture_logs() as logged:
            with pytest.raises(ClockRefused):
                opened.purge()
            opened.beat()
            opened.tend_approvals()
    assert [each["event"] for each in logged] == ["clock.jumped", "clock.refused"]
    ran = place.house.run("retention", "run")
    assert (ran.code, "gateway retention approve" in ran.err) == (1, True)
    assert place.signals() == 2
    (request,) = place.asked()
    text = place.text(request["number"]).read_text()
    assert "2026-11-03 09:00" in text
    assert "2027-05-05 09:00" in text
    # hours later: the clock goes on, and it is the same jump still
    place.clock.step(timedelta(hours=5))
    assert place.house.run("retention", "run").code == 1
    assert [each["number"] for each in place.asked()] == [request["number"]]
    place.approve(request["number"])
    ran = place.house.run("retention", "run")
    assert ran.code == 0, ran.err
    assert place.signals() == 0
    listed = place.house.json("retention", "certificate")
    made = place.house.json("retention", "certificate", listed[0]["number"])
    assert [each["onderwerp"] for each in made["goedgekeurd_door"]] == ["klok"]


def test_set_right_again_nothing_is_asked_any_more(place):
    """The jump was a mistake of the host: its request goes, and who signed it approved nothing."""
    place.receive()
    place.clock.set(at("2027-05-05"))
    assert place.house.run("retention", "run").code == 1
    (request,) = place.asked()
    signatures = [place.sign(request["number"], who) for who in ("archivaris", "controller")]
    place.clock.set(at("2026-11-03", 10))
    assert place.house.run("retention", "run").code == 0
    assert place.asked() == []
    assert place.hand_in(request["number"], *signatures).code == 1
    assert place.signals() == 2


def test_a_request_to_destroy_waits_for_the_clock_too(place):
    """WISSEN is destruction by the clock as any other."""
    place.receive()
    rows = "verzoek_id;avg_verzoek;achternaam;geboortedatum;postcode;huisnummer\n2027-01;WISSEN;Bakker;;7938PL;18\n"
    assert place.send("middendrenthe", rows.encode())["afgekeurd"] == []
    with place.house.opened() as opened:
        with opened.store.read() as conn:
            assert [each.number for each in requests.listed(conn)] == ["2027-01"]
        place.clock.step(timedelta(days=3))
        with pytest.raises(ClockRefused):
            opened.carry_out_requests()
        with opened.store.read() as conn:
            assert [each.state for each in requests.listed(conn)] == [RequestState.WAITING]
    assert place.signals() == 2


def test_a_clock_that_is_passed_is_believed(place):
    """Tests and the demo step it; unless it is to be guarded too."""
    place.receive()
    place.clock.set(at("2027-05-05"))
    other = SteppedClock(place.clock.now())
    with place.house.opened(other) as opened:
        assert opened.clock_refusal() == ""
        opened.beat()
        with opened.store.read() as conn:
            assert heartbeat.last(conn).at == at("2026-11-03").astimezone(heartbeat.last(conn).at.tzinfo)


def test_what_was_approved_is_done_once_by_whoever_comes_first(place, monkeypatch):
    """A command and the schedule both see it at the same time: one does it, the other finds it done."""
    place.receive()
    place.house.run("keys", "destroy", "until-2027-05-03")
    (request,) = place.asked()
    destroy, to_do, done = ring.destroy, asking._to_do, []
    with monkeypatch.context() as patch:
        patch.setattr(ring, "destroy", fails)
        files = [place.sign(request["number"], who) for who in ("archivaris", "controller")]
        ran = place.hand_in(request["number"], *files)
        assert (ran.code, "could not be carried out: the disk is read-only" in ran.err) == (1, True)
    assert [each["number"] for each in place.asked("approved")] == [request["number"]]
    seen_by_both, before = threading.Barrier(2, timeout=30), threading.local()

    def look(store):
        found = to_do(store)
        if not getattr(before, "looked", False):
            before.looked = True
            seen_by_both.wait()
        return found

    def count(*args, **options):
        done.append(args[2])
        return destroy(*args, **options)

    monkeypatch.setattr(asking, "_to_do", look)
    monkeypatch.setattr(ring, "destroy", count)
    with place.house.opened() as opened:
        both = [threading.Thread(target=opened.carry_out_approved) for _ in range(2)]
        for each in both:
            each.start()
        for each in both:
            each.join()
    assert done == ["until-2027-05-03"]
    assert len(place.entries("approval.carried_out")) == 1


def fails(*_args, **_options):
    """A disk that does not take it."""
    raise KeyringError("the disk is read-only")


class Killed(BaseException):
    """The process ends here."""


def test_what_was_approved_is_done_after_a_kill(place, monkeypatch):
    """Killed before it is done, or after that and before it is noted: the next look does it, and notes it once."""
    place.receive()
    for key_id, where in (("until-2027-05-03", "destroy"), ("until-2027-05-04", "advance")):
        place.house.run("keys", "destroy", key_id)
        (request,) = place.asked()
        first, second = (place.sign(request["number"], who) for who in ("archivaris", "controller"))
        assert place.hand_in(request["number"], first).code == 0
        with monkeypatch.context() as patch:
            if where == "destroy":
                patch.setattr(ring, "destroy", killed)
            else:
                patch.setattr(asking.approvals, "advance", killed_when_done)
            with pytest.raises(Killed):
                place.hand_in(request["number"], second)
        (left,) = place.asked("approved")
        assert left["number"] == request["number"]
        assert "approved, not done yet" in place.house.run("retention", "approve").out
        with place.house.opened() as opened:
            opened.tend_approvals()
        assert place.asked("approved") == []
        assert [each["object"] for each in place.entries("approval.carried_out")].count(
            request["number"]
        ) == 1
        assert key_id in {each["object"] for each in place.entries("key.destroyed")}


def killed(*_args, **_options):
    """Instead of what it would have done."""
    raise Killed


def killed_when_done(conn, number, before, after, when):
    """`advance` as it is, but for the last step."""
    if after is ApprovalState.DONE:
        raise Killed
    return advance(conn, number, before, after, when)


advance = approvals.advance
