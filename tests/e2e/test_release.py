"""A release: what `.ci/release` packs, what it refuses, and a stack that is deployed from the archives alone."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from bus_listener import BusListener
from emulator import Emulator
from release_user import ReleaseUser
from rightfoot_simulator import API_KEY
from stack import ARCHITECTURE, FUNCTIONS, REPOSITORY, Stack

PACK = REPOSITORY / ".ci/release-files"
# The header of a program for each processor.
PROGRAMS = {"arm64": b"\x7fELF" + bytes(14) + b"\xb7\x00" + bytes(44), "x86_64": b"\x7fELF" + bytes(14) + b"\x3e\x00" + bytes(44)}
LINK = re.compile(r"\]\(([^)\s#]+)")


def run(*command, cwd: Path = REPOSITORY, **variables: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, **variables}
    return subprocess.run(list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


def assert_succeeds(done: subprocess.CompletedProcess) -> None:
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"


def assert_fails(done: subprocess.CompletedProcess, message: str) -> None:
    assert done.returncode != 0 and message in done.stderr, f"{done.stdout}{done.stderr}"


# ── Deployment ──


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder outside of the repository with what `.ci/release` packs of the programs that `run` has built."""
    downloads = tmp_path_factory.mktemp("packed") / "downloads"
    assert_succeeds(run(".ci/release", "--built", "--output", downloads))
    return downloads


@pytest.fixture(scope="module")
def full_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what `.ci/release` has built."""
    built = REPOSITORY / "target/dist"
    assert (built / "SHA256SUMS").is_file(), "run .ci/release first"
    downloads = tmp_path_factory.mktemp("full") / "downloads"
    shutil.copytree(built, downloads)
    return downloads


def test_a_stack_is_deployed_from_a_release_without_a_compiler(
    packed: Path, tmp_path: Path, aws: Emulator, tools: dict[str, Path]
):
    deploy_and_use(ReleaseUser(packed, tmp_path, aws, tools), "from-release")


@pytest.mark.nightly
def test_a_stack_is_deployed_from_the_full_release_without_a_compiler(
    full_release: Path, tmp_path: Path, aws: Emulator, tools: dict[str, Path]
):
    user = ReleaseUser(full_release, tmp_path, aws, tools)
    stack = deploy_and_use(user, "from-full-release")
    # A stack can change between a release and a build from source, and keeps its data.
    (event, *_) = stack.inboxctl("events", "list")["events"]
    stack.deploy()
    assert stack.event(event["event"])["state"] == "done"
    user.run(user.first_deployment()[0])
    assert stack.event(event["event"])["state"] == "done"
    for name in FUNCTIONS:
        text = (user.folder / f"sbom/{name}.cdx.json").read_text()
        assert json.loads(text)["metadata"]["component"]["name"] == name and str(REPOSITORY) not in text
    names = {path.name for path in full_release.glob("*.tar.gz")}
    assert names >= {f"{name}-{architecture}.tar.gz" for architecture in PROGRAMS
                     for name in (f"balance-inbox-{user.version}", f"inboxctl-{user.version}-linux")}


def deploy_and_use(user: ReleaseUser, stack_name: str) -> Stack:
    """Follows the documents with the downloads alone, until a delivery is on the bus. Returns the deployed stack."""
    user.install()
    stack = user.rename_stack(stack_name)
    deploy, outputs, secrets, check = user.first_deployment()
    assert deploy.startswith("sam deploy ")
    user.run(deploy)
    functions = stack.client("lambda").list_functions()["Functions"]
    architectures = {it["FunctionName"]: it["Architectures"] for it in functions if it["FunctionName"].startswith(f"{stack_name}-")}
    assert architectures and all(it == [ARCHITECTURE] for it in architectures.values()), architectures

    bus = BusListener(stack)
    # The API is called by its path, because no resolver knows the emulator's host names of APIs.
    api_id = stack.outputs["WebhookBaseUrl"].removeprefix("http://").split(".")[0]
    output = user.run(
        "\n".join([outputs.replace("balance-inbox-dev", stack_name), secrets, check]),
        RIGHTFOOT_API_KEY=API_KEY, WEBHOOK_BASE_URL=f"{user.environment['AWS_ENDPOINT_URL']}/_aws/execute-api/{api_id}/$default",
    )
    assert '{"status":"duplicate"}' in output and "balance.extracted" in output and " 0 failed" in output, output

    published = bus.wait_for("BalanceExtracted")
    stack.wait_until_done(published["event_id"])
    (code,) = [it for it in stack.inboxctl("doctor")["checks"] if it["check"] == "function code"]
    assert code["status"] == "ok", code
    return stack


# ── The archives ──


@pytest.fixture
def functions(tmp_path: Path) -> Path:
    """A folder with headers of programs for arm64 instead of the functions."""
    for name in FUNCTIONS:
        (tmp_path / "functions" / name).mkdir(parents=True)
        (tmp_path / "functions" / name / "bootstrap").write_bytes(PROGRAMS["arm64"])
    return tmp_path / "functions"


def pack(functions: Path, output: Path, architecture: str = "arm64", **variables: str) -> subprocess.CompletedProcess:
    return run(PACK, "stack", architecture, "--functions", functions, "--output", output, **variables)


def unpack(output: Path) -> Path:
    (archive,) = output.glob("*.tar.gz")
    assert_succeeds(run("tar", "-xzf", archive, cwd=output))
    return output / archive.name.removesuffix(".tar.gz")


def test_the_template_of_a_release_has_a_zip_for_each_function_and_no_bucket(
    functions: Path, tmp_path: Path, tools: dict[str, Path]
):
    assert_succeeds(pack(functions, tmp_path / "output"))
    folder = unpack(tmp_path / "output")
    template = (folder / "template.yaml").read_text()
    code = re.findall(r"CodeUri: (\S+)", template)
    assert sorted(code) == [f"functions/{name}.zip" for name in FUNCTIONS]
    nested = re.findall(r"TemplateURL: (\S+)", template)
    assert nested and all((folder / path).is_file() for path in [*code, *nested])
    assert "Architectures: [arm64]" in template and "s3://" not in template and "target/lambda" not in template
    lint = run(tools["sam"].parent / "cfn-lint", *[folder / path for path in ["template.yaml", *nested]], AWS_DEFAULT_REGION="us-east-1")
    assert_succeeds(lint)
    requirements = (folder / "infra/requirements.txt").read_text()
    assert "aws-sam-cli==" in requirements and not re.search("cargo|zig", requirements)


def test_every_link_in_a_released_document_leads_to_a_file(functions: Path, tmp_path: Path):
    assert_succeeds(pack(functions, tmp_path / "output"))
    folder = unpack(tmp_path / "output")
    documents = list(folder.rglob("*.md"))
    links = [(document, link) for document in documents for link in LINK.findall(document.read_text()) if ":" not in link]
    assert len(documents) > 10 and len(links) > 50
    assert not [f"{document}: {link}" for document, link in links if not (document.parent / link).exists()]


def test_no_file_of_a_release_has_a_path_of_the_machine_that_packed_it(functions: Path, tmp_path: Path):
    assert_succeeds(pack(functions, tmp_path / "output"))
    files = [path for path in unpack(tmp_path / "output").rglob("*") if path.is_file()]
    paths = {str(REPOSITORY), str(Path.home()), str(tmp_path)} - {"/"}
    assert not [f"{file}: {path}" for file in files for path in paths if path.encode() in file.read_bytes()]


def test_the_same_programs_give_the_same_bytes(functions: Path, tmp_path: Path):
    def packed_bytes(folder: str) -> bytes:
        output = tmp_path / folder
        assert_succeeds(pack(functions, output, SOURCE_DATE_EPOCH="1700000000"))
        return next(output.glob("*.tar.gz")).read_bytes()

    first = packed_bytes("one")
    for name in FUNCTIONS:
        os.utime(functions / name / "bootstrap", (1, 1))
    assert packed_bytes("two") == first


def test_a_changed_archive_does_not_pass_the_check(functions: Path, tmp_path: Path):
    output = tmp_path / "output"
    assert_succeeds(pack(functions, output))
    assert_succeeds(run(PACK, "checksums", "--output", output))
    check = ["sha256sum", "--check", "--ignore-missing", "SHA256SUMS"]
    assert_succeeds(run(*check, cwd=output))
    archive = next(output.glob("*.tar.gz"))
    content = bytearray(archive.read_bytes())
    content[-1] ^= 1
    archive.write_bytes(content)
    assert run(*check, cwd=output).returncode != 0


def test_actions_of_the_workflows_are_pinned_by_commit():
    uses = [line for path in (REPOSITORY / ".github/workflows").glob("*.yml") for line in re.findall("uses: .*", path.read_text())]
    assert len(uses) > 5
    assert not [line for line in uses if not re.fullmatch(r"uses: [\w./-]+@[0-9a-f]{40} # v[\d.]+", line)]


# ── Refusals ──


def test_a_missing_function_and_one_for_another_processor_are_named(functions: Path, tmp_path: Path):
    (functions / "event-relay/bootstrap").write_bytes(PROGRAMS["x86_64"])
    assert_fails(pack(functions, tmp_path / "output"), "event-relay/bootstrap is built for linux-x86_64, not for linux-arm64")
    (functions / "event-relay/bootstrap").unlink()
    assert_fails(pack(functions, tmp_path / "output"), "event-relay/bootstrap is missing")
    assert not (tmp_path / "output").exists()


def test_an_inboxctl_for_linux_must_be_static(tmp_path: Path):
    # One program header, of the type PT_INTERP.
    header = bytearray(PROGRAMS["arm64"])
    header[32], header[54], header[56] = 64, 56, 1
    (tmp_path / "inboxctl").write_bytes(bytes(header) + bytes([3]) + bytes(55))
    command = [PACK, "inboxctl", "linux-arm64", "--binary", tmp_path / "inboxctl", "--output", tmp_path / "output"]
    assert_fails(run(*command), "inboxctl is not statically linked")
    assert_succeeds(run(*command, "--dynamic"))
    (tmp_path / "inboxctl").write_bytes(PROGRAMS["arm64"])
    assert_succeeds(run(*command))


def test_a_tag_of_another_version_is_refused():
    assert_fails(run(".ci/release", "--tag", "v99.0.0"), "the tag is v99.0.0, but the version in Cargo.toml is")


def test_a_version_that_the_changelog_does_not_have_is_refused():
    assert_fails(run(PACK, "notes", "99.0.0"), "CHANGELOG.md has no heading `## 99.0.0`")
    assert "### Added" in run(PACK, "notes", "Unreleased").stdout


def test_uncommitted_changes_are_refused(tmp_path: Path):
    clone = tmp_path / "clone"
    assert_succeeds(run("git", "clone", "--quiet", "--no-hardlinks", "--depth=1", f"file://{REPOSITORY}", clone))
    shutil.copy(REPOSITORY / ".ci/release", clone / ".ci/release")
    (clone / "forgotten.txt").write_text("")
    assert_fails(run(".ci/release", cwd=clone), "forgotten.txt")


def test_an_output_folder_with_files_is_not_emptied(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("")
    assert_fails(run(".ci/release", "--built", "--output", tmp_path), "is not empty")
    assert (tmp_path / "mine.txt").exists()
