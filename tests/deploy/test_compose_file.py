"""docker-compose.yml is held to what the code needs; tests/e2e/test_compose.py runs it."""

import re
from typing import Any
from urllib.parse import urlsplit

import pytest

from config import server, settings
from config.web import listening
from tests.deploy import composition, image
from tests.services import ROOT

FILE = composition.load()
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
SERVERS = ("postgres", "redis")
KNOWN = set(re.findall(r"^#?([A-Z][A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))


def test_its_services_are_all_that_a_deployment_needs() -> None:
    assert set(SERVICES) == {*SERVERS, *composition.OURS}
    assert [name for name, each in SERVICES.items() if "profiles" in each] == ["simulator"]


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_has_limits_and_a_policy(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert 0 < service["cpus"] <= 2
    assert 0 < service["pids_limit"] <= 200
    assert service["restart"] == ("no" if name == "migrate" else "unless-stopped")
    assert service["logging"]["options"]["max-size"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] if name != "postgres" else True
    assert not {"privileged", "cap_add", "network_mode", "pid", "devices"} & set(service)


@pytest.mark.parametrize("name", composition.OURS)
def test_each_of_ours_runs_the_one_image_with_nothing_that_it_does_not_need(name: str) -> None:
    service = SERVICES[name]
    assert service["image"] == "takeone:latest"
    assert service["build"] == "."
    assert service["cap_drop"] == ["ALL"]
    # The web service has a volume there.
    assert service["tmpfs"] == ([] if name == "web" else ["/tmp"])
    assert "user" not in service
    assert service["command"][0] == "python"


@pytest.mark.parametrize("name", SERVICES)
def test_each_that_stays_has_a_health_check(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    if name == "migrate":
        assert check == {"disable": True}
        return
    assert check["test"][0] in {"CMD", "CMD-SHELL"}
    assert composition.seconds(check["timeout"]) < composition.seconds(check["interval"])
    assert check["retries"] >= 3
    assert composition.seconds(check["start_period"]) > 0


def test_the_web_service_alone_is_reached_from_outside_and_from_this_machine_only() -> None:
    assert [name for name, each in SERVICES.items() if "ports" in each] == ["web"]
    assert SERVICES["web"]["ports"] == ["127.0.0.1:8000:8000"]
    published = {"TAKEONE_PUBLISH": "0.0.0.0:80", "TAKEONE_URL": "https://video.example"}
    web = composition.services(published)["web"]
    assert web["ports"] == ["0.0.0.0:80:8000"]
    assert web["environment"]["TAKEONE_URL"] == "https://video.example"
    assert FILE["networks"]["backend"] == {"internal": True}
    assert {name for name, each in SERVICES.items() if each["networks"] != ["backend"]} == {"web", "worker"}


def test_each_starts_when_what_it_needs_is_there() -> None:
    well, done = {"condition": "service_healthy"}, {"condition": "service_completed_successfully"}
    assert SERVICES["migrate"]["depends_on"] == {"postgres": well}
    for name in ("web", "worker", "beat"):
        assert SERVICES[name]["depends_on"] == {"migrate": done, "postgres": well, "redis": well}
    order = composition.start_order()
    assert order.index("postgres") < order.index("migrate") < order.index("web")


def test_secrets_are_in_files_that_are_in_no_history_and_no_image() -> None:
    assert "secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    for name, each in FILE["secrets"].items():
        path = each["file"].removeprefix("./")
        assert path == f"secrets/{name}"
        assert not image.is_sent(path)
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if name.endswith("_FILE") and name != "TAKEONE_PULSE_FILE":
                folder, _, secret = value.rpartition("/")
                assert folder == "/run/secrets"
                assert secret in service["secrets"]
            else:
                assert not re.search("SECRET|PASSWORD|TOKEN|API_KEY", name), name
                assert urlsplit(str(value)).password is None
        given = {str(value).rpartition("/")[2] for value in service.get("environment", {}).values()}
        assert set(service.get("secrets", [])) <= given


@pytest.mark.parametrize("name", composition.OURS)
def test_the_settings_are_known(name: str) -> None:
    # What tells our own processes of each other is no setting of a person.
    given = set(SERVICES[name].get("environment", {})) - {"TAKEONE_SIMULATOR_URL", "TAKEONE_BIND"}
    assert {each for each in given if each not in KNOWN and each.removesuffix("_FILE") not in KNOWN} == set()


def test_the_addresses_are_those_of_its_own_services() -> None:
    web, postgres = SERVICES["web"]["environment"], SERVICES["postgres"]["environment"]
    database = urlsplit(web["DATABASE_URL"])
    assert (database.hostname, database.port) == ("postgres", 5432)
    assert database.username == postgres["POSTGRES_USER"]
    assert database.path == f"/{postgres['POSTGRES_DB']}"
    assert web["DATABASE_PASSWORD_FILE"] == postgres["POSTGRES_PASSWORD_FILE"]
    assert urlsplit(web["REDIS_URL"]).hostname == "redis"
    upstream = urlsplit(web["TAKEONE_SIMULATOR_URL"])
    command = SERVICES["simulator"]["command"]
    assert (upstream.hostname, str(upstream.port)) == ("simulator", command[command.index("--port") + 1])
    assert command[command.index("--host") + 1] == "0.0.0.0"
    for name in ("worker", "beat", "migrate"):
        shared = SERVICES[name]["environment"]
        assert {key: shared[key] for key in web if key != "TAKEONE_BIND"}.items() <= web.items()


def test_what_must_last_is_in_volumes_that_those_who_need_it_share() -> None:
    media = SERVICES["web"]["environment"]["TAKEONE_MEDIA"]
    assert SERVICES["worker"]["volumes"] == [f"media:{media}"]
    assert SERVICES["web"]["volumes"] == [f"media:{media}", "spool:/tmp"]
    used = {volume.split(":")[0] for each in SERVICES.values() for volume in each.get("volumes", [])}
    assert used == set(FILE["volumes"]) == {"database", "media", "simulator", "spool"}
    state = SERVICES["simulator"]["command"][-1]
    assert state.startswith(SERVICES["simulator"]["volumes"][0].split(":")[1])


def test_what_clients_send_and_do_not_read_is_kept_on_a_disk() -> None:
    """In a tmpfs it would count as the container's memory, which is less than that may become."""
    web = SERVICES["web"]
    processes = server.workers
    kept = processes * (listening.BODY_BYTES + listening.UNREAD_BYTES)
    assert kept > int(web["mem_limit"].removesuffix("g")) << 30
    places = [volume.split(":")[1] for volume in web["volumes"]]
    assert "/tmp" in places
    assert not web["tmpfs"]
    assert "TMPDIR" not in web["environment"]


def test_what_has_begun_has_time_to_end() -> None:
    grace = {name: composition.seconds(SERVICES[name]["stop_grace_period"]) for name in ("web", "worker")}
    assert grace["web"] > server.graceful_timeout
    assert grace["worker"] > settings.SORA_TIMEOUT


def test_the_broker_drops_nothing_but_what_expires() -> None:
    command = SERVICES["redis"]["command"]
    assert command[command.index("--maxmemory-policy") + 1] == "volatile-lru"
    room = int(command[command.index("--maxmemory") + 1].removesuffix("mb"))
    assert room < int(SERVICES["redis"]["mem_limit"].removesuffix("m"))
