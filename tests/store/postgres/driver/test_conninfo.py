"""Connection strings are checked as libpq understands them, and never quoted."""

from __future__ import annotations

import pytest

from cvms.errors import BadValue
from cvms.store.postgres.driver.conninfo import check_conninfo

SECRET = "Zq7vXw2kLm9tRb4y"


@pytest.mark.parametrize(
    "conninfo",
    [
        "postgresql://",
        "postgresql://u:pw@host/db",
        "postgres://u:p%40w@[::1]:5432/db?sslmode=verify-full&sslrootcert=/etc/ca.pem",
        "postgresql://u:a?b#c:d@host/db",
        "postgresql://u@a:1,b:2/db?target_session_attrs=read-write&load_balance_hosts=random",
        "postgresql://u@a,b:2/db?ssl=true&connect_timeout=3",
        "postgresql://u@%2Frun%2Fpostgresql/db",
        "postgresql:///db?host=/run/postgresql",
        "host=a,b port=1,2 user=u password='p w' dbname=db",
        "host=/run/postgresql dbname=db",
    ],
)
def test_a_good_connection_string_passes(conninfo: str) -> None:
    check_conninfo(conninfo)


@pytest.mark.parametrize(
    ("conninfo", "reason"),
    [
        (SECRET, "its scheme is not postgresql or postgres"),
        (f"mysql://u:{SECRET}@h/db?a=b", "its scheme is not postgresql or postgres"),
        (f"postgresql://u:{SECRET}@@h/db", "its user or password has an @"),
        (f"postgresql://u:x@{SECRET}@h/db", "its user or password has an @"),
        (f"postgresql://u:{SECRET}/@h/db", "behind the host it has an @ or /"),
        (f"postgresql://u:1234/{SECRET}@h/db", "behind the host it has an @ or /"),
        (f"postgresql://u:{SECRET}%zz@h/db", "the percent-encoding of its password is not"),
        (f"postgresql://u:{SECRET}%@h/db", "the percent-encoding of its password is not"),
        (f"postgresql://u:{SECRET}%00@h/db", "the percent-encoding of its password is not"),
        ("postgresql://h%zz/db", "the percent-encoding of its host is not valid"),
        ("postgresql://h/d%zz", "the percent-encoding of its database is not valid"),
        ("postgresql://h/?user=%zz", "the percent-encoding of its parameter user is not"),
        (f"postgresql://u:{SECRET}\n@h/db", "it has characters that cannot be printed"),
        (f"postgresql://h:{SECRET}/db", "its port is not a number from 1 to 65535"),
        ("postgresql://h:0/db", "its port is not a number from 1 to 65535"),
        ("postgresql://a:1,b:65536/db", "its port is not a number from 1 to 65535"),
        ("host=a,b port=1,65536", "its port is not a number from 1 to 65535"),
        ("host=a,b port=1,2,3", "it has not as many ports as hosts"),
        ("host=a,b hostaddr=::1", "it has not as many addresses as hosts"),
        ("hostaddr=a", "its hostaddr is not an address"),
        ("postgresql://u@a_b!/db", "its host is not a name or an address"),
        (f"host=h password={SECRET} {SECRET}", "it has a parameter that libpq does not know"),
        (f"host=h password='{SECRET}", "it has a parameter that libpq does not know"),
        ("postgresql://h/db?sslmod=x", "libpq does not know its parameter 1, which resembles sslm"),
        (f"postgresql://h/db?password=a&{SECRET}=b", "libpq does not know its parameter 2"),
        (f"postgresql://h/db?password=a&{SECRET}", "its parameter 2 is not of the form"),
        ("postgresql://h/db?connect_timeout=soon", "its parameter connect_timeout is not a whole"),
        ("postgresql://h/db?service=none", "its parameter service has a value that libpq does"),
        *(
            (f"host=h {name}={SECRET}", f"its parameter {name} has a value that libpq does")
            for name in (
                "channel_binding",
                "gssencmode",
                "load_balance_hosts",
                "require_auth",
                "ssl_min_protocol_version",
                "sslmode",
                "target_session_attrs",
            )
        ),
    ],
)
def test_the_part_at_fault_is_named_and_nothing_quoted(conninfo: str, reason: str) -> None:
    with pytest.raises(BadValue) as raised:
        check_conninfo(conninfo)
    assert str(raised.value).startswith(reason)
    assert SECRET not in str(raised.value)
