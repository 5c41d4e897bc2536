import pytest

from ops.embedded.postgres import without_password


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://mesh:s3cret@127.0.0.1:5432/hub", "postgresql://mesh:***@127.0.0.1:5432/hub"),
        ("postgresql://mesh@host/hub", "postgresql://mesh@host/hub"),
        ("host=h user=u password=s3cret dbname=d", "host=h user=u password=*** dbname=d"),
        ("postgresql://host/hub?user=u&password=s3cret", "postgresql://host/hub?user=u&password=***"),
        ("127.0.0.1:9092", "127.0.0.1:9092"),
        ("http://127.0.0.1:8081", "http://127.0.0.1:8081"),
    ],
)
def test_no_password_is_shown(address: str, shown: str):
    assert without_password(address) == shown
