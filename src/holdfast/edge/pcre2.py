"""Expressions of HTTP checks, by the system's own PCRE2 (libpcre2-8): the dialect and options keepalived.conf means.

A match may take no more than MATCH_LIMIT steps, so that an expression that explodes on some body costs a failed check
and not a standing daemon. Source: pcre2api(3).
"""

import ctypes
from typing import Any

from holdfast.check.config import Regex
from holdfast.check.conversation import ExpressionGaveUp

MATCH_LIMIT = 200_000
HEAP_LIMIT_KIB = 4096

OPTIONS = {
    "allow_empty_class": 0x1, "alt_bsux": 0x2, "auto_callout": 0x4, "caseless": 0x8, "dollar_endonly": 0x10,
    "dotall": 0x20, "dupnames": 0x40, "extended": 0x80, "firstline": 0x100, "match_unset_backref": 0x200,
    "multiline": 0x400, "never_ucp": 0x800, "never_utf": 0x1000, "no_auto_capture": 0x2000, "no_auto_possess": 0x4000,
    "no_dotstar_anchor": 0x8000, "no_start_optimize": 0x10000, "ucp": 0x20000, "ungreedy": 0x40000, "utf": 0x80000,
    "never_backslash_c": 0x100000, "alt_circumflex": 0x200000, "alt_verbnames": 0x400000, "use_offset_limit": 0x800000,
}  # fmt: skip
"""`regex_options` and PCRE2's bits for them."""

_NO_MATCH = -1
_SIZE = ctypes.c_size_t
_POINTER = ctypes.c_void_p
_UINT = ctypes.c_uint32
_LIBRARY = "libpcre2-8.so.0"


class _Library:
    """The functions we call, with their types."""

    def __init__(self) -> None:
        try:
            library = ctypes.CDLL(_LIBRARY)
        except OSError:
            raise ValueError(f"a regex needs {_LIBRARY}: install it (Debian: libpcre2-8-0)") from None
        self.compile = _typed(
            library.pcre2_compile_8, _POINTER, ctypes.c_char_p, _SIZE, _UINT, _POINTER, _POINTER, _POINTER
        )
        self.free = _typed(library.pcre2_code_free_8, None, _POINTER)
        self.match = _typed(
            library.pcre2_match_8, ctypes.c_int, _POINTER, ctypes.c_char_p, _SIZE, _SIZE, _UINT, _POINTER, _POINTER
        )
        self.new_result = _typed(library.pcre2_match_data_create_8, _POINTER, _UINT, _POINTER)
        self.free_result = _typed(library.pcre2_match_data_free_8, None, _POINTER)
        self.new_context = _typed(library.pcre2_match_context_create_8, _POINTER, _POINTER)
        self.free_context = _typed(library.pcre2_match_context_free_8, None, _POINTER)
        self.set_match_limit = _typed(library.pcre2_set_match_limit_8, ctypes.c_int, _POINTER, _UINT)
        self.set_heap_limit = _typed(library.pcre2_set_heap_limit_8, ctypes.c_int, _POINTER, _UINT)
        self.set_offset_limit = _typed(library.pcre2_set_offset_limit_8, ctypes.c_int, _POINTER, _SIZE)
        self.message = _typed(library.pcre2_get_error_message_8, ctypes.c_int, ctypes.c_int, _POINTER, _SIZE)

    def words(self, code: int) -> str:
        """An error in the library's own words."""
        text = ctypes.create_string_buffer(256)
        self.message(code, text, len(text))
        return text.value.decode("ascii", "replace")


def _typed(function: Any, result: Any, *arguments: Any) -> Any:
    function.restype = result
    function.argtypes = list(arguments)
    return function


_library: _Library | None = None


class Pcre2Expression:
    """A compiled expression. ValueError: it is none, or the library isn't there."""

    def __init__(self, regex: Regex) -> None:
        global _library
        _library = _library or _Library()
        self._functions = _library
        self._context = self._result = self._code = None
        options = 0
        for name in regex.options:
            if name not in OPTIONS:
                raise ValueError(f"{name!r} is no option of an expression: use {', '.join(OPTIONS)}")
            options |= OPTIONS[name]
        if regex.max_offset is not None:
            options |= OPTIONS["use_offset_limit"]
        pattern = regex.expression.encode("utf-8", "surrogateescape")
        error, place = ctypes.c_int(), _SIZE()
        self._code = _library.compile(
            pattern, len(pattern), options, ctypes.byref(error), ctypes.byref(place), None
        )
        if not self._code:
            raise ValueError(f"{regex.expression!r} at character {place.value}: {_library.words(error.value)}")
        self._result = _library.new_result(1, None)
        self._context = _library.new_context(None)
        _library.set_match_limit(self._context, MATCH_LIMIT)
        _library.set_heap_limit(self._context, HEAP_LIMIT_KIB)
        if regex.max_offset is not None:
            _library.set_offset_limit(self._context, regex.max_offset)
        self._from = regex.min_offset

    def search(self, body: bytes) -> bool:
        """Whether `body` has a match that begins between the offsets; ExpressionGaveUp."""
        if self._from > len(body):
            return False
        found = int(
            self._functions.match(self._code, body, len(body), self._from, 0, self._result, self._context)
        )
        if found >= 0:
            return True
        if found == _NO_MATCH:
            return False
        raise ExpressionGaveUp(self._functions.words(found))

    def __del__(self) -> None:
        if self._context:
            self._functions.free_context(self._context)
        if self._result:
            self._functions.free_result(self._result)
        if self._code:
            self._functions.free(self._code)
