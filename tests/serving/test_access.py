"""TLS and the bearer token of the model server: who is let in by gRPC and REST, and what never goes in the clear."""

import json
import socket
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path

import grpc
import numpy as np
import pytest
from certificates import self_signed
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import INPUTS

from eyewall.contracts.errors import InputError, ServingError
from eyewall.serving.access import ClientAccess, ServerAccess, Token
from eyewall.serving.client import Client

SECRET = "7f3a-secret-token"
#: 2 · (x + u) of the first row, first column: 2 · (0.5 + 1.0)
FIRST = 3.0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def guarded(repository, serve, certificate, tmp_path):
    """A server that wants the token over TLS, with a model; and the file of its token."""
    repository.publish(2.0)
    file = tmp_path / "token"
    file.write_text(SECRET + "\n")
    pem, key = certificate
    return serve(repository.url, tls_cert=str(pem), tls_key=str(key), token_file=str(file)), file


def client_of(server, certificate, token: str | None = SECRET) -> Client:
    access = ClientAccess(Token(token) if token else None, True, certificate[0].read_bytes())
    return Client(server.address, 5.0, access)


def test_the_right_token_over_tls_gets_an_answer_by_grpc(guarded, certificate):
    with client_of(guarded[0], certificate) as client:
        assert client.predict(INPUTS, "track").outputs["y"][0, 0] == FIRST


@pytest.mark.parametrize("token", [None, "wrong", SECRET + "x", SECRET[:-1], SECRET.upper()])
def test_any_other_token_is_refused_by_every_grpc_method(guarded, certificate, token):
    with client_of(guarded[0], certificate, token) as client:
        for call in (
            lambda: client.predict(INPUTS, "track"),
            lambda: client.status("track"),
            lambda: client.reload([]),
            lambda: client.metadata("track"),
        ):
            with pytest.raises(ServingError, match="UNAUTHENTICATED: this server wants a bearer token"):
                call()
    with client_of(guarded[0], certificate) as client:  # nothing of the reload was done
        assert client.predict(INPUTS, "track").version == 1


def test_a_size_bomb_without_a_token_is_refused_before_it_is_read(guarded, certificate):
    with client_of(guarded[0], certificate, None) as client, pytest.raises(ServingError, match="UNAUTHENTICATED"):
        client.predict({"x": np.zeros((5_000_000, 3), np.float32), "u": INPUTS["u"]}, "track")


def test_a_renewed_token_counts_at_once_and_the_old_one_no_longer(guarded, certificate):
    server, file = guarded
    file.write_text("renewed-secret")
    with client_of(server, certificate) as client, pytest.raises(ServingError, match="UNAUTHENTICATED"):
        client.status("track")
    with client_of(server, certificate, "renewed-secret") as client:
        assert client.status("track")[1].available


def test_a_client_that_does_not_know_the_certificate_sends_nothing(guarded, tmp_path):
    stranger = self_signed(tmp_path, "stranger")
    with client_of(guarded[0], stranger) as client, pytest.raises(ServingError, match="does not answer within"):
        client.status("track")


def rest(server, certificate, path: str, token: str | None, body: bytes | None = None):
    request = urllib.request.Request(f"https://127.0.0.1:{server.rest_port}{path}", body)
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    context = ssl.create_default_context(cafile=str(certificate[0]))
    return urllib.request.urlopen(request, timeout=5, context=context)


def test_rest_wants_the_same_token_but_tells_without_one_that_it_lives(guarded, certificate):
    server = guarded[0]
    body = json.dumps({"inputs": {name: value.tolist() for name, value in INPUTS.items()}}).encode()
    with rest(server, certificate, "/v1/models/track:predict", SECRET, body) as answer:
        assert json.load(answer)["outputs"]["y"][0][0] == FIRST
    with rest(server, certificate, "/healthz", None) as answer:
        assert answer.status == 200
    for token in (None, "wrong"):
        for path, data in (("/v1/models/track", None), ("/v1/models/track:predict", body)):
            with pytest.raises(urllib.error.HTTPError, match="401"):
                rest(server, certificate, path, token, data)


def test_a_connection_that_never_finishes_its_handshake_holds_up_nobody(guarded, certificate):
    server = guarded[0]
    idle = [socket.create_connection(("127.0.0.1", server.rest_port)) for _ in range(8)]
    began = time.monotonic()
    with rest(server, certificate, "/healthz", None) as answer:
        assert answer.status == 200
    assert time.monotonic() - began < 4
    for one in idle:
        one.sendall(b"GET / HTTP/1.1\r\n\r\n")  # plain text into TLS
        one.close()
    with rest(server, certificate, "/healthz", None) as answer:
        assert answer.status == 200


def test_a_token_is_never_sent_in_the_clear_to_another_machine():
    access = ClientAccess(Token(SECRET))
    for address in ("127.0.0.1:8500", "localhost:8500", "[::1]:8500"):
        access.channel(address, []).close()
    for address in ("192.0.2.1:8500", "tfs.example:8500", "127.0.0.1.example:8500"):
        with pytest.raises(InputError, match="in the clear: set EYEWALL_SERVER_CA"):
            access.channel(address, [])


def test_the_environment_gives_token_and_trust_and_options_go_first(tmp_path, certificate):
    file = tmp_path / "t"
    file.write_text("of-the-file")
    environ = {"EYEWALL_SERVER_TOKEN": "of-the-environment", "EYEWALL_SERVER_CA": str(certificate[0])}
    access = ClientAccess.of_environment(environ=environ)
    assert access.metadata() == (("authorization", "Bearer of-the-environment"),)
    assert access.tls
    assert ClientAccess.of_environment(token_file=str(file), environ=environ).metadata()[0][1] == "Bearer of-the-file"
    named = environ | {"EYEWALL_SERVER_TOKEN_FILE": str(file)}
    assert ClientAccess.of_environment(environ=named).metadata()[0][1] == "Bearer of-the-file"
    assert ClientAccess.of_environment(environ={}) == ClientAccess()


def test_a_token_file_that_is_away_for_a_moment_leaves_the_last_token(tmp_path):
    file = tmp_path / "t"
    with pytest.raises(InputError, match="cannot be read"):
        Token(file=file)
    file.write_text("one")
    token = Token(file=file)
    file.write_text("")  # a writer has only just begun
    assert token.read() == "one"
    file.unlink()
    assert token.read() == "one"
    file.write_text("second")
    assert token.read() == "second"


@pytest.mark.parametrize("text", ["", " \n", "two words", "é", "x" * 9000, "a\x00b"])
def test_what_is_no_token_is_refused_with_the_remedy(text):
    with pytest.raises(InputError, match="openssl rand -hex 32"):
        Token(text)


@given(st.text(max_size=40))
@settings(max_examples=200)
def test_only_the_exact_header_fits(header):
    assert Token(SECRET).fits(header) == (header == f"Bearer {SECRET}")


def test_a_certificate_without_its_key_is_refused_before_anything_starts(certificate, tmp_path):
    pem, key = map(str, certificate)
    with pytest.raises(InputError, match="TLS needs both"):
        ServerAccess.of(pem, None)
    other = self_signed(tmp_path, "other")[1]
    with pytest.raises(InputError, match="do not make a pair"):
        ServerAccess.of(pem, str(other))
    assert ServerAccess.of(pem, key).tls


def test_without_options_the_server_is_open_as_tensorflow_serving_is(repository, serve):
    repository.publish(2.0)
    with grpc.insecure_channel(serve(repository.url).address) as channel:
        grpc.channel_ready_future(channel).result(timeout=5)
