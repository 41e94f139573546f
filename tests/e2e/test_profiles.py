"""Every kind of profile that the AWS CLI supports works with inboxctl as `cargo install` builds it.

The exported keys have no permissions, so a command can only succeed by its profile.
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
PROFILE_KINDS = ["keys", "process", "role", "environment", "web", "sso", "login"]


class Operator:
    """An operator whose home directory has a profile of each kind. Each leads to the same role."""

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
        self._write_profiles()

    def _write_profiles(self) -> None:
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
        self._write_cached_token("sso", hashlib.sha1(SESSION.encode()), {
            "accessToken": "of-sso", "expiresAt": later, "region": "us-east-1", "startUrl": START_URL,
        })
        self._write_cached_token("login", hashlib.sha256(login.encode()), {
            "accessToken": {
                "accessKeyId": self.session["AccessKeyId"], "secretAccessKey": self.session["SecretAccessKey"],
                "sessionToken": self.session["SessionToken"], "accountId": "123456789012", "expiresAt": later,
            },
            "tokenType": "aws_sigv4", "refreshToken": "of-login", "clientId": "arn:aws:signin:::devtools/same-device",
            "dpopKey": "used only to refresh",
        })

    def _write_cached_token(self, kind: str, name, token: dict) -> None:
        file = self.home / f".aws/{kind}/cache/{name.hexdigest()}.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(token))

    def mint_url(self, profile: str, **variables: str) -> subprocess.CompletedProcess:
        """Runs `inboxctl url mint`, which reads a secret of the account."""
        options = ["--profile", profile, "--rightfoot-url-key", SECRET, "--base-url", "https://inbox.example"]
        without_permissions = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nobody"}
        files = {"AWS_CONFIG_FILE": f"{self.home}/config", "HOME": str(self.home)}
        environment = {**self._environment, **without_permissions, **files, **variables}
        command = [self._inboxctl, *options, "url", "mint", "ada"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def policy(*statements: dict) -> str:
    allow = [{"Effect": "Allow", **statement} for statement in statements]
    return json.dumps({"Version": "2012-10-17", "Statement": allow})


@pytest.fixture(scope="module")
def operator(aws: Emulator, tools: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Operator:
    return Operator(aws, tools, tmp_path_factory.mktemp("operator"))


@pytest.fixture(scope="module")
def sso_url(operator: Operator):
    """The URL of a simulated IAM Identity Center. The emulator has none."""
    session = operator.session

    class IdentityCenter(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_known = self.headers["x-amz-sso_bearer_token"] == "of-sso" and "role_name=operator" in self.path
            body = json.dumps({"roleCredentials": {
                "accessKeyId": session["AccessKeyId"], "secretAccessKey": session["SecretAccessKey"],
                "sessionToken": session["SessionToken"], "expiration": int(time.time() + 3600) * 1000,
            }}).encode()
            self.send_response(200 if is_known else 401)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), IdentityCenter)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.mark.parametrize("kind", PROFILE_KINDS)
def test_inboxctl_supports_every_kind_of_profile(operator: Operator, sso_url: str, kind: str):
    variables = {"AWS_ENDPOINT_URL_SSO": sso_url}
    if kind == "environment":
        variables |= {"AWS_ACCESS_KEY_ID": "owner", "AWS_SECRET_ACCESS_KEY": "owner"}
    done = operator.mint_url(kind, **variables)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("https://inbox.example/webhooks/rightfoot/ada."), done.stdout


def test_exported_keys_do_not_replace_a_missing_profile(operator: Operator):
    owner = {"AWS_ACCESS_KEY_ID": "owner", "AWS_SECRET_ACCESS_KEY": "owner"}
    done = operator.mint_url("nosuch", **owner)
    assert done.returncode == 1 and done.stderr.startswith("error: there is no AWS profile nosuch (--profile)")
