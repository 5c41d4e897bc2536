"""Bucket place: drops in a bucket of an object store.

A file is one PutObject: readers have all of it or nothing of it, and of a request that breaks off nothing stays behind. Stores
are asked to check what arrives: the body's SHA-256 is part of the signature. They say of the newest write at once, as Amazon,
Ceph, MinIO and SeaweedFS do; a store that does not would tell us old offsets, from which files are written again.
"""

from __future__ import annotations

import logging
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.session import Session

from sinks.drops.place import Fill, parcel
from sinks.drops.s3.address import S3Address, address_of
from sinks.drops.s3.fault import told
from sinks.drops.s3.options import ACCESS_KEY, SECRET_KEY, S3Options
from sinks.sink import SinkSetup

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0
_TRIES = 2  # a connection that the store closed while nothing was to do
_ALONE = {
    # Nothing of the user's own configuration: what counts stands in the connection.
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}


class BucketPlace:
    """Raises what sinks/drops/s3/fault.py says."""

    def __init__(
        self, address: S3Address, access_key: str, secret_key: str, *, addressing: str = "path", tls_ca: str = ""
    ) -> None:
        self._address = address
        self._ca = _kept(tls_ca) if tls_ca else None
        logging.getLogger("botocore").setLevel(logging.WARNING)
        config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=ANSWER_SECONDS,
            retries={"total_max_attempts": _TRIES, "mode": "standard"},
            s3={"addressing_style": addressing, "payload_signing_enabled": True},
            # Only what every store knows: sums in headers of their own are Amazon's.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            ignore_configured_endpoint_urls=True,
        )
        with told(address, ""):
            self._client: Any = Session(session_vars=_ALONE).create_client(
                "s3",
                region_name=address.region,
                endpoint_url=address.endpoint,
                aws_access_key_id=access_key,
                aws_secret_access_key=secret_key,
                verify=str(self._ca) if self._ca else None,
                config=config,
            )

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()
        if self._ca is not None:
            with suppress(OSError):
                self._ca.unlink()

    def write(self, folder: str, name: str, fill: Fill) -> tuple[int, str]:
        """Write a file whole or not at all; returns its bytes and their SHA-256 once the store has it."""
        with parcel(fill, f"drop {self.shown(folder, name)}") as whole:
            with told(self._address, f"{folder}/{name}"):
                self._client.put_object(
                    Bucket=self._address.bucket,
                    Key=self._key(folder, name),
                    Body=whole.file,
                    ContentLength=whole.size,
                )
            return whole.size, whole.sha256

    def read(self, folder: str, name: str) -> bytes | None:
        """The content of a file; None if there is none."""
        with told(self._address, f"{folder}/{name}"):
            try:
                answer = self._client.get_object(Bucket=self._address.bucket, Key=self._key(folder, name))
                return answer["Body"].read()
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") == "NoSuchKey":
                    return None
                raise

    def names(self, folder: str, begin: str, after: str = "") -> list[str]:
        """The files of a folder whose names begin so and sort behind `after`, sorted."""
        found: list[str] = []
        stem = self._key(folder, "")
        asked: dict[str, str] = {"StartAfter": f"{stem}{after}"} if after else {}
        with told(self._address, folder):
            while True:
                page = self._client.list_objects_v2(Bucket=self._address.bucket, Prefix=f"{stem}{begin}", **asked)
                found += [entry["Key"].removeprefix(stem) for entry in page.get("Contents", ())]
                if not page.get("IsTruncated"):
                    return sorted(name for name in found if "/" not in name)
                asked = {"ContinuationToken": page["NextContinuationToken"]}

    def sweep(self, folder: str, stem: str) -> None:
        """Nothing is ever half written."""

    def shown(self, folder: str, name: str) -> str:
        """Where a person finds a file."""
        return f"{self._address}/{folder}/{name}"

    def _key(self, folder: str, name: str) -> str:
        return f"{self._address.prefix}{folder}/{name}"


def open_bucket(setup: SinkSetup) -> BucketPlace:
    """The place of a sink's drop. Raises Misconfigured; nothing is asked yet."""
    options = setup.options(S3Options)
    return BucketPlace(
        address_of(setup, options),
        setup.secret("", f"{setup.sink.name}.{ACCESS_KEY}"),
        setup.secret("", f"{setup.sink.name}.{SECRET_KEY}"),
        addressing=options.addressing,
        tls_ca=options.tls_ca,
    )


def _kept(certificates: str) -> Path:
    """A file with them, which the client reads at every new connection."""
    descriptor, name = tempfile.mkstemp(prefix="mesh-ca-", suffix=".pem")
    with os.fdopen(descriptor, "w") as file:
        file.write(certificates)
    return Path(name)
