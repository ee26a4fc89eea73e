"""Whatever octets come, codecs and dissector answer: no exception, no work beyond the length of the frame."""

import io
import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from holdfast.bfd.packet import BfdState, ControlPacket, MalformedBfd, decode_bfd, encode_bfd, refusal
from holdfast.carp.packet import CarpAdvert, MalformedCarp, decode_carp, encode_carp
from holdfast.dissect.fields import fields
from holdfast.dissect.frame import dissect
from holdfast.dissect.pcap import LINK_TYPES, Unreadable, read_capture
from holdfast.dissect.secrets import Secrets, read_secrets
from holdfast.dissect.words import line
from holdfast.vrrp.ah import AuthenticationHeader, decode_ah, encode_ah
from holdfast.vrrp.hmac_trailer import Trailer, decode_trailer, encode_trailer
from holdfast.vrrp.packet import Malformed
from tests.decode.vectors import cases, files, records

KNOWN = Secrets(
    auth_pass=b"s3cret12", ah_key=b"uniAH", hmac_keys=((1, bytes(range(32))),), carp_password=b"p", carp_addresses=()
)
FRAMES = sorted({records(name)[packet["frame"] - 1].octets for name, packet in cases()})
octet, word = st.integers(0, 255), st.integers(0, 2**32 - 1)


def answers(link_type: int, octets: bytes) -> None:
    for secrets in (Secrets(), KNOWN):
        frame = dissect(link_type, octets, secrets)
        json.dumps(fields(frame))
        assert "\n" not in line(frame)
        assert all(isinstance(wrong, str) for wrong in frame.problems)


@given(st.sampled_from(sorted(LINK_TYPES)), st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
@example(1, b"")
@example(101, b"\x45")
def test_any_octets(link_type: int, octets: bytes) -> None:
    answers(link_type, octets)


@given(st.data())
@settings(max_examples=700, deadline=None)
def test_captured_frames_changed_and_cut(data: st.DataObject) -> None:
    octets = bytearray(data.draw(st.sampled_from(FRAMES)))
    for _ in range(data.draw(st.integers(0, 4))):
        octets[data.draw(st.integers(12, len(octets) - 1))] = data.draw(octet)
    end = data.draw(st.integers(0, len(octets) + 1))
    more = data.draw(st.binary(max_size=40)) if end > len(octets) else b""
    answers(1, bytes(octets[:end]) + more)


def test_every_captured_frame_cut_at_every_length() -> None:
    for octets in FRAMES[::12]:
        for length in range(len(octets)):
            answers(1, octets[:length])


@given(st.sampled_from(sorted(files())), st.data())
@settings(max_examples=150, deadline=None)
def test_capture_files_changed_and_cut(name: str, data: st.DataObject) -> None:
    octets = bytearray(files()[name])
    for _ in range(data.draw(st.integers(0, 3))):
        octets[data.draw(st.integers(0, min(len(octets), 400) - 1))] = data.draw(octet)
    try:
        for record in read_capture(io.BytesIO(octets[: data.draw(st.integers(0, len(octets)))])):
            dissect(record.link_type, record.octets)
    except Unreadable:
        pass


@given(st.binary(min_size=12, max_size=80))
def test_an_authentication_header_comes_back(octets: bytes) -> None:
    try:
        header = decode_ah(octets)
    except Malformed:
        return
    assert octets.startswith(encode_ah(header))


@given(st.builds(AuthenticationHeader, spi=word, sequence_number=word, icv=st.binary(min_size=12, max_size=12)))
def test_an_authentication_header_goes_there_and_back(header: AuthenticationHeader) -> None:
    assert decode_ah(encode_ah(header)) == header


@given(st.binary(min_size=0, max_size=40))
def test_a_trailer_comes_back(octets: bytes) -> None:
    try:
        trailer = decode_trailer(octets)
    except Malformed:
        assert len(octets) != 28
        return
    assert encode_trailer(trailer) == octets
    assert encode_trailer(trailer)[4:12] == (
        trailer.seconds << 32 | trailer.subseconds << 16 | trailer.counter
    ).to_bytes(8, "big")


@given(st.builds(Trailer, key_id=octet, sequence=st.integers(0, 2**64 - 1), hmac=st.binary(min_size=16, max_size=16)))
def test_a_trailer_goes_there_and_back(trailer: Trailer) -> None:
    assert decode_trailer(encode_trailer(trailer)) == trailer
    assert trailer.well_formed


@given(st.binary(max_size=48) | st.binary(min_size=36, max_size=36))
def test_carp_comes_back_but_for_its_checksum(octets: bytes) -> None:
    try:
        advert = decode_carp(octets)
    except MalformedCarp:
        assert len(octets) != 36
        return
    encoded = encode_carp(advert)
    assert encoded[:6] + encoded[8:] == octets[:6] + octets[8:]


@given(st.builds(CarpAdvert, vhid=octet, advbase=octet, advskew=octet, counter=st.integers(0, 2**64 - 1),
                 hmac=st.binary(min_size=20, max_size=20), demotion=octet))  # fmt: skip
def test_carp_goes_there_and_back(advert: CarpAdvert) -> None:
    decoded = decode_carp(encode_carp(advert))
    assert decoded.checksum != 0 or advert.checksum == 0
    assert decode_carp(encode_carp(decoded)) == decoded


@given(st.binary(max_size=64))
def test_bfd_comes_back(octets: bytes) -> None:
    try:
        packet = decode_bfd(octets)
    except MalformedBfd:
        assert len(octets) < 24
        return
    assert octets.startswith(encode_bfd(packet))
    refusal(packet, len(octets))


@given(
    st.builds(
        ControlPacket,
        state=st.sampled_from(BfdState),
        detect_mult=octet,
        my_discriminator=word,
        your_discriminator=word,
        desired_min_tx_us=word,
        required_min_rx_us=word,
        diag=st.integers(0, 31),
        poll=st.booleans(),
        demand=st.booleans(),
        multipoint=st.booleans(),
        version=st.integers(0, 7),
    )
)
def test_bfd_goes_there_and_back(packet: ControlPacket) -> None:
    assert decode_bfd(encode_bfd(packet)) == packet


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
@example(b'{"auth_hmac_keys": [{"id": 1, "key_hex": "zz"}]}')
@example(b'{"carp_virtual_address": "nowhere"}')
@example(b'{"vrrp_auth_pass": 5}')
def test_secrets_of_any_form(octets: bytes) -> None:
    try:
        assert read_secrets(octets)
    except ValueError as wrong:
        said = str(wrong)
    else:
        return
    assert "the form is {" in said
