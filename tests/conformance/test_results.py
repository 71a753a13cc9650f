"""What the conformance run keeps, and the table in the docs that is made from it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conformance import npm, results
from tests.conformance.environments import LOCKS, PACKAGES
from tests.conformance.judges import JUDGES
from tests.conformance.results import Result
from tests.locks import pins
from tests.services import ROOT

OLD = Result("box", "1.0", "deliver", "ok", "a playable mp4")


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "results.json"
    found = [OLD, replace(OLD, case="cancel", outcome="FAILED", detail='it said "no"')]

    results.save(found, path)

    assert results.load(path) == found
    assert results.load(tmp_path / "none") == []


def test_a_new_result_replaces_the_old_one_of_its_case_alone() -> None:
    cancel, other = replace(OLD, case="cancel"), replace(OLD, server="other")
    new = replace(OLD, outcome="FAILED")

    assert results.merge([OLD, cancel, other], [new]) == [cancel, new, other]


def test_what_an_older_version_did_is_dropped() -> None:
    new = replace(OLD, version="1.1", case="cancel")

    assert results.merge([OLD], [new]) == [new]


def test_the_table_says_what_failed_and_what_was_not_tried() -> None:
    lines = results.table([OLD, replace(OLD, case="cancel", outcome="FAILED", detail="no")]).splitlines()

    assert lines[2] == "| box | 1.0 | a playable mp4 | not tried | not tried | *cancel*: FAILED |"
    assert [line for line in lines if "TensorRT" in line] == ["| TensorRT-LLM | | not tried | | | |"]


def test_what_is_no_server_has_a_table_of_its_own() -> None:
    judge = replace(OLD, server="aimock")
    found = [OLD, judge, replace(judge, case="cancel", outcome="FAILED")]

    assert "aimock" not in results.table(found)
    sdk, mock = results.stand_ins_table(found).splitlines()[2:]
    assert sdk.endswith("| not tried |")
    assert mock.endswith("| 1.0 | 1 of 2 cases |")


def test_the_docs_have_the_tables_of_the_last_results() -> None:
    found = results.load()
    assert found
    docs = (ROOT / "docs" / "upstreams.md").read_text()
    assert results.table(found) in docs
    assert results.stand_ins_table(found) in docs
    openai = (ROOT / "docs" / "openai.md").read_text()
    assert results.stand_ins_table(found, results.CALLERS) in openai


def test_each_lock_of_a_server_pins_its_packages_with_hashes() -> None:
    for server, locks in LOCKS.items():
        names = set()
        for lock, *_ in locks:
            found, problems = pins(ROOT / "requirements" / lock)
            assert not problems
            names |= {name for name, *_ in found}
        assert PACKAGES.get(server, server) in names


@pytest.mark.parametrize("judge", npm.PACKAGES)
def test_a_lock_of_npm_has_a_hash_for_each_package(judge: str) -> None:
    folder = ROOT / "requirements" / f"conformance-{judge}"
    locked = json.loads((folder / "package-lock.json").read_text())["packages"]
    asked = json.loads((folder / "package.json").read_text())["dependencies"]
    assert locked.pop("")["dependencies"] == asked
    for name, package in locked.items():
        assert package["integrity"].startswith("sha512-"), name
        # Where it is fetched from is for the machine to say.
        assert "resolved" not in package, name


def test_the_readme_names_the_versions_that_were_tried() -> None:
    readme = (ROOT / "README.md").read_text()
    names = {
        "litellm": "LiteLLM's proxy",
        "sglang": "SGLang Diffusion",
        "vllm-omni": "vLLM-Omni",
        "openrouter-sdk": "Python SDK",
        "openai-node": "SDK for Node",
        "aimock": "aimock",
    }
    tried = {(each.server, each.version) for each in results.load()}
    assert {server for server, _ in tried} == set(names) == set(JUDGES)
    for server, version in tried:
        assert f"{names[server]} {version}" in readme
