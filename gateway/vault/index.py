"""Index tokens: equal input of one month, level and scope gives equal tokens, and tells nothing else.

Each month of receipt has a key of its own; with it die its tokens (spec 4, Rows and index). Scope is
the municipality, or the creditor for what is only ever compared within one creditor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b

from gateway.errors import KeyMissing
from gateway.vault.derive import expand, length_prefixed
from gateway.vault.key_ids import index_id, month_of
from gateway.vault.keyring import Keyring

TOKEN_BYTES = 16
#: Levels of what is known of a received file: its name, and all of its bytes; the scope is the partner.
NAME_LEVEL = "name"
DIGEST_LEVEL = "file"


class Indexer:
    """Makes tokens under the index keys of a keyring; a destroyed key makes none (KeyMissing).

    Args:
        keyring: the keys.
        versions: tells the version in force of every key of which it is not the first; read at the first use, and
            again when that version is gone.
    """

    def __init__(self, keyring: Keyring, versions: Callable[[], Mapping[str, int]] = dict) -> None:
        self._keyring, self._versions = keyring, versions
        self._in_force: Mapping[str, int] | None = None
        #: (month, level, scope) -> (index key, keyed hasher to copy)
        self._hashers: dict[tuple[str, str, str], tuple[bytes, blake2b]] = {}

    def live_months(self) -> list[str]:
        """The months (`YYYY-MM`) whose key is in the keyring, newest first."""
        months = sorted((m for m in map(month_of, self._keyring.ids()) if m is not None), reverse=True)
        for known in [known for known in self._hashers if known[0] not in months]:
            self._hashers.pop(known, None)
        return months

    def token(self, month: str, level: str, scope: str, parts: Sequence[str]) -> bytes:
        """The 16-byte token of one key (its parts in order, spec 3) in a month."""
        return self.tokens(month, level, scope, (parts,))[0]

    def tokens(self, month: str, level: str, scope: str, many: Iterable[Sequence[str]]) -> list[bytes]:
        """The tokens of many keys, in their order; the keyring is looked at once."""
        return self.tokens_within(month, level, ((scope, parts) for parts in many))

    def tokens_within(self, month: str, level: str, many: Iterable[tuple[str, Sequence[str]]]) -> list[bytes]:
        """The tokens of many keys, each with its scope, in their order; the keyring is looked at once."""
        index_key = self._index_key(month)
        copies: dict[str, Callable[[], blake2b]] = {}
        found = []
        for scope, parts in many:
            copy = copies.get(scope)
            if copy is None:
                copy = copies[scope] = self._hasher(index_key, (month, level, scope)).copy
            hasher = copy()
            hasher.update(length_prefixed(*parts))
            found.append(hasher.digest())
        return found

    def content_token(self, month: str, creditor: str, content: bytes) -> bytes:
        """A 16-byte token of a signal's contents: the same signal sent again is known by it."""
        return self.content_tokens(month, creditor, (content,))[0]

    def content_tokens(self, month: str, creditor: str, many: Iterable[bytes]) -> list[bytes]:
        """The tokens of the contents of many signals, in their order; the keyring is looked at once."""
        copy = self._hasher(self._index_key(month), (month, "content", creditor)).copy
        found = []
        for content in many:
            hasher = copy()
            hasher.update(content)
            found.append(hasher.digest())
        return found

    def _hasher(self, index_key: bytes, place: tuple[str, str, str]) -> blake2b:
        """The hasher of a month, level and scope, to be copied."""
        known = self._hashers.get(place)
        if known is None or known[0] != index_key:
            _, level, scope = place
            keyed = blake2b(key=expand(index_key, f"gw/v1/index/{level}/{scope}"), digest_size=TOKEN_BYTES)
            known = self._hashers[place] = (index_key, keyed)
        return known[1]

    def _index_key(self, month: str) -> bytes:
        try:
            return self._key(index_id(month))
        except KeyMissing:
            for known in [known for known in self._hashers if known[0] == month]:
                self._hashers.pop(known, None)
            raise

    def _key(self, key_id: str) -> bytes:
        before = self._in_force
        if before is None:
            before = self._in_force = self._versions()
        try:
            return self._keyring.get(key_id, before.get(key_id, 1))
        except KeyMissing:
            self._in_force = self._versions()
            if self._in_force.get(key_id, 1) == before.get(key_id, 1):
                raise
            return self._keyring.get(key_id, self._in_force[key_id])
