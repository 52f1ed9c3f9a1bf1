import ssl

from quarry_common import tls


def test_old_versions_and_servers_that_are_not_verified_are_not_used() -> None:
    context = tls.context()

    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_what_is_no_fault_of_tls_is_left_to_others() -> None:
    assert tls.fault(ConnectionRefusedError(), "The server", "X_URL", "X") is None


def test_the_fault_is_found_below_what_a_driver_raises() -> None:
    raised = ConnectionError("no connection")
    raised.__cause__ = OSError("no handshake")
    raised.__cause__.__context__ = ssl.SSLError(1, "wrong version number")

    fault = tls.fault(raised, "The server", "X_URL", "X")

    assert fault is not None
    assert fault.detail.startswith("The server does not agree on TLS")
    assert "X_URL" in fault.advice


def test_errors_that_came_of_each_other_have_an_end() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one

    assert tls.fault(one, "The server", "X_URL", "X") is None
