"""One tree of errors: each says whose fault it is and whether trying again helps.

GatewayError
  ConfigError        operator: names file, key and reason; starts nothing; exit 2
    ConfigErrors     all that is wrong with the configuration, told together
  KeyringError       operator: a key is missing, unreadable or damaged; exit 12
    KeyMissing       the key is not in the keyring: never made, or destroyed on its day
    KeySuperseded    a newer version of the key is in force: wrap again
  VaultError         ours: alarm
    BlobMissing, BlobDamaged, WrongKey
  TransferError      sender, during SFTP
  DeliveryError      sender, in the pipeline: the whole file is refused with an F code
  ReaderError        ours: workbooks can't be read here
  RenderError        ours: the process that renders worklists; trying again helps
  StoreError         ours: the database; exit 11
  AuditError         ours: the log does not verify; exit 13
  SignatureRefused   who signed: a signature approves nothing; exit 1
  CommandError       operator: as things stand, a command can't be carried out; exit 1
    Overtaken        operator: what was approved can never be done any more
    ClockRefused     operator: nothing is destroyed by a clock that can't be believed
  IllegalTransition  a bug: a state change that the table of transitions does not list
"""

from __future__ import annotations

from collections.abc import Iterable


class GatewayError(Exception):
    """Base of all errors of the gateway; never raised itself."""

    exit_code = 1


class ConfigError(GatewayError):
    """A setting that can't be used. `file`, `key` and `reason` are shown to the administrator."""

    exit_code = 2

    def __init__(self, reason: str, *, file: str = "", key: str = "") -> None:
        self.file, self.key, self.reason = file, key, reason
        super().__init__(": ".join(part for part in (file, key, reason) if part))


class ConfigErrors(ConfigError):
    """All that can't be used in the configuration; `problems` has at least one."""

    def __init__(self, problems: Iterable[ConfigError]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class KeyringError(GatewayError):
    """The keyring can't be opened or used."""

    exit_code = 12


class KeyMissing(KeyringError):
    """The key is not in the keyring: destroyed on its day, or never made here."""


class KeySuperseded(KeyringError):
    """A data key was wrapped under a version of a key that a newer one has taken the place of: wrap it again."""


class VaultError(GatewayError):
    """Sealed contents can't be handed out."""


class BlobMissing(VaultError):
    """The blob is not in the vault."""


class BlobDamaged(VaultError):
    """The blob was truncated, extended, altered or swapped: nothing of it is handed out."""


class WrongKey(VaultError):
    """The key at hand is not the one that sealed this object (its commitment differs)."""


class TransferError(GatewayError):
    """An SFTP operation is refused; the text is what the partner reads."""


class DeliveryError(GatewayError):
    """The whole file is refused. `code` is an F code; `detail` names columns, never values."""

    def __init__(self, code: str, detail: str = "") -> None:
        self.code, self.detail = code, detail
        super().__init__(f"{code} {detail}".strip())


class ReaderError(GatewayError):
    """The process that reads workbooks does not start: no fault of the file."""


class RenderError(GatewayError):
    """The process that renders worklists died, or is silent: the worklist is still due."""


class ScannerError(GatewayError):
    """The virus scanner does not say that a file is clean: no fault of the file."""


class StoreError(GatewayError):
    """The database can't be opened or used."""

    exit_code = 11


class AuditError(GatewayError):
    """The audit log does not verify."""

    exit_code = 13


class SignatureRefused(GatewayError):
    """A signature does not approve what it is given for; the text says why."""


class CommandError(GatewayError):
    """As things stand, a command can't be carried out; the text says what can be done instead."""


class Overtaken(CommandError):
    """What was approved can never be done any more: what it is about has gone."""


class ClockRefused(CommandError):
    """The clock went back, or jumped ahead: nothing is destroyed by it; the text says what to do."""


class IllegalTransition(GatewayError):
    """A state change that the table of transitions does not list."""
