"""AWS for one test: moto with every signature and policy checked, and where roles come from.

Says as JSON where it listens and with which keys it may be asked, and ends with its stdin. Its own
part is small: the metadata service of EC2 (only version 2), the credentials endpoint of ECS, and a
proxy to an STS by TLS that knows web identities. The arguments are the certificate and the key for
that.
"""

import http.client
import http.server
import json
import os
import ssl
import sys
import threading
import urllib.parse
import urllib.request

import boto3
from moto.server import ThreadedMotoServer

REGION = "eu-west-1"
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Resource": "*",
         "Action": ["secretsmanager:GetSecretValue", "ssm:GetParameter"]}
    ],
}
# moto wants a signature on this answer as soon as it checks any; AWS wants none.
WEB_IDENTITY = """<AssumeRoleWithWebIdentityResponse
xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>{AccessKeyId}</AccessKeyId>
<SecretAccessKey>{SecretAccessKey}</SecretAccessKey><SessionToken>{SessionToken}</SessionToken>
<Expiration>{expiration}</Expiration></Credentials></AssumeRoleWithWebIdentityResult>
</AssumeRoleWithWebIdentityResponse>"""
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:*"}],
}

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
aws = f"http://{host}:{port}"


def client(name):
    return boto3.client(name, region_name=REGION, endpoint_url=aws,
                        aws_access_key_id="setup", aws_secret_access_key="setup")


iam, sts = client("iam"), client("sts")
iam.create_user(UserName="app")
keys = iam.create_access_key(UserName="app")["AccessKey"]
iam.put_user_policy(UserName="app", PolicyName="read", PolicyDocument=json.dumps(POLICY))
role = iam.create_role(RoleName="app-role", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]
iam.put_role_policy(RoleName="app-role", PolicyName="read", PolicyDocument=json.dumps(POLICY))
iam.create_user(UserName="nobody")
denied = iam.create_access_key(UserName="nobody")["AccessKey"]
manager = client("secretsmanager")
arn = manager.create_secret(Name="prod/db", SecretString='{"password": "sm-value-1"}')["ARN"]
manager.create_secret(Name="binary", SecretBinary=b"binary-value-1")
parameters = client("ssm")
for value in ["ssm-value-1", "ssm-value-2"]:
    parameters.put_parameter(Name="/prod/key", Type="SecureString", Value=value, Overwrite=True)
session = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="test")["Credentials"]
web = sts.assume_role_with_web_identity(
    RoleArn=role["Arn"], RoleSessionName="web", WebIdentityToken="a.web.identity")["Credentials"]
# From now on whoever asks must have signed, and be allowed to.
urllib.request.urlopen(urllib.request.Request(
    f"{aws}/moto-api/reset-auth", data=b"0", headers={"content-type": "text/plain"}))
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(sys.argv[1], sys.argv[2])
asked = []


class Identity(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body, kind="application/json"):
        data = body.encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def credentials(self):
        expiration = session["Expiration"].strftime("%Y-%m-%dT%H:%M:%SZ")
        return json.dumps({
            "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": "2026-01-01T00:00:00Z",
            "AccessKeyId": session["AccessKeyId"], "SecretAccessKey": session["SecretAccessKey"],
            "Token": session["SessionToken"], "Expiration": expiration})

    def do_PUT(self):
        ttl = self.headers["x-aws-ec2-metadata-token-ttl-seconds"]
        is_right = self.path == "/latest/api/token" and ttl
        self.answer(200 if is_right else 400, "imds-token" if is_right else "", "text/plain")

    def do_GET(self):
        roles = "/latest/meta-data/iam/security-credentials/"
        if self.path == "/asked":
            return self.answer(200, json.dumps(asked))
        asked.append(self.path)
        if self.path == "/ecs" and self.headers["authorization"] == "ecs-token":
            return self.answer(200, self.credentials())
        if self.headers["x-aws-ec2-metadata-token"] != "imds-token":
            return self.answer(401, "")
        if self.path == roles:
            return self.answer(200, "app-role", "text/plain")
        if self.path == roles + "app-role":
            return self.answer(200, self.credentials())
        self.answer(404, "")

    def do_CONNECT(self):
        self.send_response(200)
        self.end_headers()
        asked.append(self.path)
        self.close_connection = True
        with tls.wrap_socket(self.connection, server_side=True) as stream:
            inner = stream.makefile("rwb")
            inner.readline()
            headers = http.client.parse_headers(inner)
            data = inner.read(int(headers["content-length"])).decode()
            asked_for = dict(urllib.parse.parse_qsl(data))
            expected = {"Action": "AssumeRoleWithWebIdentity", "RoleArn": role["Arn"],
                        "WebIdentityToken": "a.web.identity"}
            assert expected.items() <= asked_for.items(), asked_for
            expiration = web["Expiration"].strftime("%Y-%m-%dT%H:%M:%SZ")
            body = WEB_IDENTITY.format(expiration=expiration, **web).encode()
            inner.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/xml\r\nconnection: close\r\n"
                        + f"content-length: {len(body)}\r\n\r\n".encode() + body)
            inner.flush()

    def log_message(self, *words):
        pass


identity = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Identity)
threading.Thread(target=identity.serve_forever, daemon=True).start()
print(json.dumps({
    "endpoint": aws, "identity": f"http://127.0.0.1:{identity.server_port}", "arn": arn,
    "key_id": keys["AccessKeyId"], "key": keys["SecretAccessKey"], "role": role["Arn"],
    "denied_id": denied["AccessKeyId"], "denied_key": denied["SecretAccessKey"]}), flush=True)
sys.stdin.read()
os._exit(0)
