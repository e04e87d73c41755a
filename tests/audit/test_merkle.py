"""The tree is RFC 6962's: its published vectors, and another implementation, agree."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree, verify_consistency

from gateway.audit.merkle import (
    EMPTY_ROOT,
    Frontier,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_of,
)

#: The inputs and roots that Certificate Transparency implementations test with, for sizes 1 to 8.
INPUTS = [bytes.fromhex(text) for text in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"
)]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [leaf_hash(b"entry %d" % number) for number in range(70)]


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_of_the_published_vectors(size: int) -> None:
    """Sizes 1 to 8."""
    assert root_of(map(leaf_hash, INPUTS[:size])).hex() == ROOTS[size - 1]


def test_the_empty_tree_has_its_own_root() -> None:
    """SHA-256 of nothing (RFC 6962 section 2.1)."""
    assert root_of([]) == EMPTY_ROOT
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@settings(deadline=None, max_examples=40)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=70), st.data())
def test_another_implementation_agrees(entries: list[bytes], data: st.DataObject) -> None:
    """Roots at every size, and proofs that theirs accepts as equal to its own."""
    oracle = InmemoryTree(algorithm="sha256")
    leaves = [leaf_hash(entry) for entry in entries]
    tree = Frontier()
    for size, entry in enumerate(entries, start=1):
        oracle.append_entry(entry)
        tree.append(leaf_hash(entry))
        assert tree.root() == oracle.get_root() == root_of(leaves[:size])
    index = data.draw(st.integers(0, len(entries) - 1))
    path = oracle.prove_inclusion(index + 1, len(entries)).serialize()["path"]
    assert [leaves[index].hex(), *(node.hex() for node in inclusion_proof(leaves, index))] == path
    size = data.draw(st.integers(1, len(entries)))
    proof = consistency_proof(leaves, size)
    assert check_consistency(size, oracle.get_root(size), len(entries), oracle.get_root(), proof)


def test_another_implementation_agrees_at_every_size() -> None:
    """Sizes 1 to 70: its roots are ours, its inclusion proofs are ours, and consistency holds both ways.

    Its consistency proofs have another form than RFC 6962's: each side checks its own between the other's roots.
    """
    oracle = InmemoryTree(algorithm="sha256")
    roots = [EMPTY_ROOT]
    for size in range(1, 71):
        leaves = LEAVES[:size]
        oracle.append_entry(b"entry %d" % (size - 1))
        roots.append(root_of(leaves))
        assert oracle.get_root() == roots[size]
        for index in range(size):
            path = oracle.prove_inclusion(index + 1, size).path
            assert [leaves[index], *inclusion_proof(leaves, index)] == path
        for earlier in range(1, size + 1):
            verify_consistency(roots[earlier], roots[size], oracle.prove_consistency(earlier, size))
            proof = consistency_proof(leaves, earlier)
            assert check_consistency(earlier, oracle.get_root(earlier), size, oracle.get_root(size), proof)


def test_every_inclusion_proof_holds_for_its_leaf_alone() -> None:
    """At every index of every size; no other leaf, index or root passes with it."""
    for size in range(1, 34):
        leaves = LEAVES[:size]
        root = root_of(leaves)
        for index in range(size):
            proof = inclusion_proof(leaves, index)
            assert check_inclusion(leaves[index], index, size, proof, root)
            assert not check_inclusion(LEAVES[69], index, size, proof, root)
            assert not check_inclusion(leaves[index], index, size, proof, LEAVES[69])
            assert not check_inclusion(leaves[index], index, size, [*proof, LEAVES[0]], root)
            assert not check_inclusion(leaves[index], (index + 1) % size, size, proof, root) or size == 1
            assert not proof or not check_inclusion(leaves[index], index, size, proof[:-1], root)


def test_every_consistency_proof_holds_for_its_trees_alone() -> None:
    """For every pair of sizes; no other root passes with it."""
    for later in range(1, 34):
        leaves = LEAVES[:later]
        later_root = root_of(leaves)
        for size in range(1, later + 1):
            root, proof = root_of(leaves[:size]), consistency_proof(leaves, size)
            assert check_consistency(size, root, later, later_root, proof)
            assert not check_consistency(size, LEAVES[69], later, later_root, proof)
            assert not check_consistency(size, root, later, LEAVES[69], proof)
            assert not check_consistency(size, root, later, later_root, [*proof, LEAVES[0]])
            assert not proof or not check_consistency(size, root, later, later_root, proof[:-1])


def test_proofs_of_what_is_not_there_are_refused() -> None:
    """Indexes and sizes outside the tree."""
    with pytest.raises(ValueError, match="no such leaf"):
        inclusion_proof(LEAVES[:3], 3)
    with pytest.raises(ValueError, match="no such earlier tree"):
        consistency_proof(LEAVES[:3], 4)
    assert not check_inclusion(LEAVES[0], 1, 1, [], LEAVES[0])
    assert not check_consistency(0, EMPTY_ROOT, 1, LEAVES[0], [])
    assert not check_consistency(3, LEAVES[0], 2, LEAVES[0], [])
