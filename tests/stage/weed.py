"""SeaweedFS for tests: one real object store and one real SFTP server in a process without root, from a wheel.

`drops` may read, write and list the bucket `drops` alone; `admin` may do everything. On the SFTP server, `drops` logs in by a
password or by its key, `reader` may only read what `keeper` has.
"""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import asyncssh
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ops.embedded.program import Program, Running, free_ports, launch
from tests.stage.until import until

BUCKET, FOREIGN_BUCKET = "drops", "foreign"
PASSWORD = "sesame-of-the-server"
SECRET_KEY = "sesame-of-the-store"


@dataclass(frozen=True, kw_only=True)
class Weed:
    """Where the servers are, and what their guests know of them."""

    s3: str
    s3_tls: str
    tls_ca: str
    sftp_port: int
    host_key: str
    private_key: str

    @classmethod
    def from_json(cls, text: str) -> Weed:
        return cls(**json.loads(text))

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def client(endpoint: str, access_key: str = "admin", secret_key: str = "admin-of-the-store") -> Any:
    """A stock client of the store, as a subscriber has one."""
    return Session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=endpoint,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )


def start(directory: Path) -> tuple[Weed, Callable[[], None]]:
    """Start it and wait until it takes a file; what stops it."""
    data = directory / "data"
    data.mkdir(parents=True)
    host_key, user_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    (directory / "host_key").write_bytes(host_key.export_private_key())
    (directory / "host_key").chmod(0o600)
    certificate = _certificate(directory)
    ports = free_ports(10)
    master, master_grpc, volume, volume_grpc, filer, filer_grpc, s3, s3_grpc, s3_tls, sftp = ports
    (directory / "s3.json").write_text(json.dumps({"identities": _identities()}))
    (directory / "users.json").write_text(json.dumps(_users(user_key.export_public_key().decode().strip())))
    options = {
        "dir": data,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "master.telemetry": "false",
        "master.port": master,
        "master.port.grpc": master_grpc,
        "master.volumeSizeLimitMB": 64,
        "volume.port": volume,
        "volume.port.grpc": volume_grpc,
        "volume.max": 8,
        "filer": "true",
        "filer.port": filer,
        "filer.port.grpc": filer_grpc,
        "s3": "true",
        "s3.port": s3,
        "s3.port.grpc": s3_grpc,
        "s3.port.https": s3_tls,
        "s3.cert.file": directory / "tls.crt",
        "s3.key.file": directory / "tls.key",
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.iam": "false",
        "s3.autoCreateBucket": "false",
        "s3.config": directory / "s3.json",
        "sftp": "true",
        "sftp.port": sftp,
        "sftp.sshPrivateKey": directory / "host_key",
        "sftp.userStoreFile": directory / "users.json",
    }
    program = Program(
        name="weed",
        argv=[
            str(Path(sys.executable).with_name("weed")),
            "-logtostderr",
            "server",
            *(f"-{name}={value}" for name, value in options.items()),
        ],
        log=directory / "weed.log",
    )
    running = launch(program)
    weed = Weed(
        s3=f"http://127.0.0.1:{s3}",
        s3_tls=f"https://127.0.0.1:{s3_tls}",
        tls_ca=certificate,
        sftp_port=sftp,
        host_key=host_key.export_public_key().decode().strip(),
        private_key=user_key.export_private_key().decode(),
    )
    until(lambda: _takes_a_file(weed, running), 120, "the object store takes a file")

    def stop() -> None:
        running.kill()
        for port in ports:  # it leaves its local sockets there, wherever it is told to
            for socket in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                socket.unlink(missing_ok=True)

    return weed, stop


def _takes_a_file(weed: Weed, running: Running) -> bool:
    assert running.ended() is None, running.program.log.read_text()[-4000:]
    store = client(weed.s3)
    try:
        for bucket in (BUCKET, FOREIGN_BUCKET):
            store.create_bucket(Bucket=bucket)
        store.put_object(Bucket=FOREIGN_BUCKET, Key="ready", Body=b"")
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"BucketAlreadyExists", "BucketAlreadyOwnedByYou"}:
            return False
        store.put_object(Bucket=FOREIGN_BUCKET, Key="ready", Body=b"")
    except BotoCoreError:
        return False
    finally:
        store.close()
    return True


def _identities() -> list[dict[str, Any]]:
    def identity(name: str, secret: str, *actions: str) -> dict[str, Any]:
        return {"name": name, "credentials": [{"accessKey": name, "secretKey": secret}], "actions": list(actions)}

    return [
        identity("drops", SECRET_KEY, f"Read:{BUCKET}", f"Write:{BUCKET}", f"List:{BUCKET}"),
        identity("reader", SECRET_KEY, f"Read:{BUCKET}", f"List:{BUCKET}"),
        identity("admin", "admin-of-the-store", "Admin"),
    ]


def _users(public_key: str) -> list[dict[str, Any]]:
    def user(name: str, uid: int, home: str, *rights: str) -> dict[str, Any]:
        return {
            "Username": name,
            "Password": PASSWORD,
            "PublicKeys": [public_key],
            "HomeDir": home,
            "Permissions": {home: list(rights)},
            "Uid": uid,
            "Gid": uid,
        }

    return [
        user("drops", 1001, "/home/drops", "*"),
        user("keeper", 1002, "/home/reader", "*"),
        user("reader", 1003, "/home/reader", "read", "list"),
    ]


def _certificate(directory: Path) -> str:
    """A certificate for 127.0.0.1 that signed itself; its text."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "store of the tests")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    text = certificate.public_bytes(serialization.Encoding.PEM)
    (directory / "tls.crt").write_bytes(text)
    pem = serialization.PrivateFormat.PKCS8
    plain = serialization.NoEncryption()
    (directory / "tls.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, pem, plain))
    return text.decode()
