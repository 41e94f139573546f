"""Every kind of profile that the AWS CLI takes, taken by inboxctl as `cargo install` makes it.

The exported keys are nobody's: whatever works, works by the profile.
"""

import base64
import hashlib
import json
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from emulator import Emulator
from stack import Stack

SECRET = "profiles-url-key"
ISSUER = "idp.example"
START_URL = "https://ours.awsapps.com/start"
SESSION = "ours"
KINDS = ["keys", "process", "role", "environment", "web", "sso", "login"]


class Operator:
    """A role of this account, and an operator's home with a profile of each kind that leads to it."""

    def __init__(self, aws: Emulator, tools: dict[str, Path], home: Path):
        self._inboxctl, self._environment, self.home = tools["inboxctl"], aws.environment, home
        client = Stack("", aws, {}).client
        client("secretsmanager").create_secret(Name=SECRET, SecretString="of-the-profiles")
        account = client("sts").get_caller_identity()["Account"]
        self.role = f"arn:aws:iam::{account}:role/operator"
        trusted = {"AWS": f"arn:aws:iam::{account}:root"}
        federated = {"Federated": f"arn:aws:iam::{account}:oidc-provider/{ISSUER}"}
        client("iam").create_role(RoleName="operator", AssumeRolePolicyDocument=policy(
            {"Principal": trusted, "Action": "sts:AssumeRole"},
            {"Principal": federated, "Action": "sts:AssumeRoleWithWebIdentity"},
        ))
        client("iam").put_role_policy(RoleName="operator", PolicyName="reads", PolicyDocument=policy(
            {"Action": "secretsmanager:GetSecretValue", "Resource": "*"},
        ))
        assumed = client("sts").assume_role(RoleArn=self.role, RoleSessionName="ada")
        self.session = assumed["Credentials"]
        self._write()

    def _write(self) -> None:
        keys = {"Version": 1, "AccessKeyId": self.session["AccessKeyId"],
                "SecretAccessKey": self.session["SecretAccessKey"], "SessionToken": self.session["SessionToken"]}
        (self.home / "process.json").write_text(json.dumps(keys))
        claims = [base64.urlsafe_b64encode(json.dumps(it).encode()).rstrip(b"=").decode()
                  for it in ({"alg": "none"}, {"iss": f"https://{ISSUER}", "sub": "ada", "aud": "inboxctl"})]
        (self.home / "token").write_text(".".join([*claims, "unsigned"]))
        login = f"{self.role.replace(':role/', ':user/')}-ada"
        (self.home / "config").write_text(f"""
[profile keys]
aws_access_key_id = owner
aws_secret_access_key = owner
[profile process]
credential_process = cat {self.home}/process.json
[profile role]
role_arn = {self.role}
source_profile = keys
[profile environment]
role_arn = {self.role}
credential_source = Environment
[profile web]
role_arn = {self.role}
web_identity_token_file = {self.home}/token
[profile sso]
sso_session = {SESSION}
sso_account_id = 123456789012
sso_role_name = operator
[sso-session {SESSION}]
sso_region = us-east-1
sso_start_url = {START_URL}
[profile login]
login_session = {login}
""")
        later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
        self._cache("sso", hashlib.sha1(SESSION.encode()), {
            "accessToken": "of-sso", "expiresAt": later, "region": "us-east-1", "startUrl": START_URL,
        })
        self._cache("login", hashlib.sha256(login.encode()), {
            "accessToken": {
                "accessKeyId": self.session["AccessKeyId"], "secretAccessKey": self.session["SecretAccessKey"],
                "sessionToken": self.session["SessionToken"], "accountId": "123456789012", "expiresAt": later,
            },
            "tokenType": "aws_sigv4", "refreshToken": "of-login", "clientId": "arn:aws:signin:::devtools/same-device",
            "dpopKey": "unused until it is refreshed",
        })

    def _cache(self, kind: str, name, token: dict) -> None:
        file = self.home / f".aws/{kind}/cache/{name.hexdigest()}.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(token))

    def mints(self, profile: str, **variables: str) -> subprocess.CompletedProcess:
        """By a secret of the account."""
        words = ["--profile", profile, "--rightfoot-url-key", SECRET, "--base-url", "https://inbox.example"]
        nobodys = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nobody"}
        files = {"AWS_CONFIG_FILE": f"{self.home}/config", "HOME": str(self.home)}
        environment = {**self._environment, **nobodys, **files, **variables}
        command = [self._inboxctl, *words, "url", "mint", "ada"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def policy(*statements: dict) -> str:
    allowed = [{"Effect": "Allow", **statement} for statement in statements]
    return json.dumps({"Version": "2012-10-17", "Statement": allowed})


@pytest.fixture(scope="module")
def operator(aws: Emulator, tools: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Operator:
    return Operator(aws, tools, tmp_path_factory.mktemp("operator"))


@pytest.fixture(scope="module")
def sso_url(operator: Operator):
    """IAM Identity Center, which the emulator does not have."""
    session = operator.session

    class IdentityCenter(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_known = self.headers["x-amz-sso_bearer_token"] == "of-sso" and "role_name=operator" in self.path
            answer = json.dumps({"roleCredentials": {
                "accessKeyId": session["AccessKeyId"], "secretAccessKey": session["SecretAccessKey"],
                "sessionToken": session["SessionToken"], "expiration": int(time.time() + 3600) * 1000,
            }}).encode()
            self.send_response(200 if is_known else 401)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), IdentityCenter)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.mark.parametrize("kind", KINDS)
def test_the_installed_tool_takes_every_kind_of_profile(operator: Operator, sso_url: str, kind: str):
    variables = {"AWS_ENDPOINT_URL_SSO": sso_url}
    if kind == "environment":
        variables |= {"AWS_ACCESS_KEY_ID": "owner", "AWS_SECRET_ACCESS_KEY": "owner"}
    minted = operator.mints(kind, **variables)
    assert minted.returncode == 0, minted.stderr
    assert minted.stdout.startswith("https://inbox.example/webhooks/rightfoot/ada."), minted.stdout


def test_exported_keys_stand_in_for_no_profile(operator: Operator):
    owners = {"AWS_ACCESS_KEY_ID": "owner", "AWS_SECRET_ACCESS_KEY": "owner"}
    refused = operator.mints("nosuch", **owners)
    assert refused.returncode == 1 and refused.stderr.startswith("error: there is no AWS profile nosuch (--profile)")
