"""Somebody who has the files of a release, and neither the repository nor a compiler."""

import os
import shutil
import subprocess
from pathlib import Path

from document_examples import code_blocks
from emulator import Emulator
from stack import ARCHITECTURE, Stack

# Everything that the documents say is needed, and the commands that every system has. (The SAM CLI runs uname.)
PROGRAMS = ["bash", "env", "id", "jq", "openssl", "gzip", "sha256sum", "tar", "uname"]
COMPILERS = ["cargo", "rustc", "rustup", "cargo-lambda", "zig", "cc", "gcc", "clang"]
# For SQS, the AWS CLI ignores AWS_ENDPOINT_URL and calls a legacy host name. The option overrides that.
DEFINE_AWS = 'aws() { command aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"; }'
# The AWS CLI and the SAM CLI are there already, as that command installs them.
INSTALLATION = [
    "python3 -m venv .venv && . .venv/bin/activate",
    "pip install --no-deps --require-hashes -r infra/requirements.txt",
]
# The documents name these archives. A user takes those for the own machine, and this one for Lambda, too.
DOCUMENTED_ARCHIVES = {"balance-inbox-{version}-arm64": "balance-inbox-{version}-{architecture}",
                       "inboxctl-{version}-linux-x86_64": "inboxctl-{version}-linux-{architecture}"}


class ReleaseUser:
    """Runs the commands of infra/README.md in the folder with the downloads, and then in the unpacked one."""

    def __init__(self, downloads: Path, scratch: Path, aws: Emulator, tools: dict[str, Path]):
        self.downloads = downloads
        self.version = version_of(downloads)
        self.folder = downloads / f"balance-inbox-{self.version}-{ARCHITECTURE}"
        self.inboxctl = downloads / f"inboxctl-{self.version}-linux-{ARCHITECTURE}" / "inboxctl"
        path = os.pathsep.join([str(links_to_programs(scratch, tools)), str(self.inboxctl.parent)])
        assert not [name for name in COMPILERS if shutil.which(name, path=path)]
        # Not the whole environment: HOME would lead a tool to the folder of cargo.
        self.environment = {**aws.client_variables, "PATH": path, "HOME": str(scratch), "USER": "ada", "LANG": "C.UTF-8"}
        self._aws, self._tools = aws, tools

    def install(self) -> None:
        """Follows "Install a release"."""
        commands = "\n".join(code_blocks("sh", "infra/README.md", "## Install a release"))
        for documented, own in DOCUMENTED_ARCHIVES.items():
            documented, own = (it.format(version=self.version, architecture=ARCHITECTURE) for it in (documented, own))
            assert documented in commands, f"infra/README.md does not name {documented}"
            commands = commands.replace(documented, own)
        for command in INSTALLATION:
            assert commands.count(command) == 1, command
            commands = commands.replace(command, "true")
        self.run(commands, self.downloads)
        assert self.folder.is_dir() and self.inboxctl.is_file()

    def rename_stack(self, name: str) -> Stack:
        """Changes the name of the development stack in the unpacked settings, as a user may do."""
        settings = self.folder / "infra/samconfig.toml"
        text, documented = settings.read_text(), '"balance-inbox-dev"'
        assert text.count(documented) == 1
        settings.write_text(text.replace(documented, f'"{name}"'))
        return Stack(name, self._aws, {**self._tools, "inboxctl": self.inboxctl})

    def first_deployment(self) -> list[str]:
        """The commands of "First deployment" in the unpacked document."""
        return code_blocks("sh", str(self.folder / "infra/README.md"), "## First deployment")

    def run(self, commands: str, folder: Path | None = None, **variables: str) -> str:
        """Runs the commands, which end at the first one that fails, and returns their output."""
        command = ["bash", "-c", "\n".join(["set -euo pipefail", DEFINE_AWS, commands])]
        done = subprocess.run(command, cwd=folder or self.folder, env={**self.environment, **variables},
                              capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout


def version_of(downloads: Path) -> str:
    """The version in the name of this machine's archive."""
    (archive,) = downloads.glob(f"balance-inbox-*-{ARCHITECTURE}.tar.gz")
    return archive.name.removeprefix("balance-inbox-").removesuffix(f"-{ARCHITECTURE}.tar.gz")


def links_to_programs(scratch: Path, tools: dict[str, Path]) -> Path:
    """A folder with links to these programs alone. Folders like /usr/bin may have a compiler, too."""
    folder = scratch / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    programs = {name: shutil.which(name) for name in PROGRAMS} | {name: str(tools[name]) for name in ("aws", "sam")}
    for name, program in programs.items():
        assert program, f"this test needs {name}"
        if not (folder / name).exists():
            (folder / name).symlink_to(program)
    return folder
