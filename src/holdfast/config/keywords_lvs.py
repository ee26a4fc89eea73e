"""Rows of the keyword table: virtual servers, real servers, checkers. All known, none carried out yet."""

from holdfast.config.keywords import (
    BOOL_OPT,
    COMMAND,
    IF,
    IP,
    PATH,
    PORT_OPT,
    QUOTED,
    SCRIPT,
    USER,
    WORD,
    WORD_OPT,
    WORDS,
    Arg,
    Block,
    Keyword,
    block,
    choice,
    entries,
    k,
    later,
    seconds,
    sint,
    uint,
    whole_seconds,
)

SCHEDULERS = ("rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "mh", "dh", "fo", "ovf", "sed", "nq", "twos")
PORT = uint(1, 65535)
TIMER = seconds(0)
_UP32 = uint(0, 2**32 - 1)
_METHOD = Arg(kind="words")


def _forwarding(default: str) -> tuple[Keyword, ...]:
    meaning = "how packets reach the real server: NAT, DR or TUN and its options"
    return (
        k("lvs_method", default, meaning, _METHOD, checked="lvs_method"),
        k("lb_kind", default, meaning, _METHOD, checked="lvs_method"),
    )


VIRTUAL_SERVER = block(
    "virtual_server",
    "A balanced service",
    k("lvs_sched", "wlc", "how a server is chosen", WORD, checked="scheduler"),
    k("lb_algo", "wlc", "how a server is chosen", WORD, checked="scheduler"),
    *_forwarding("NAT"),
    k("protocol", "UDP", "transport protocol", choice("TCP", "UDP", "SCTP", fold=True)),
    k("ip_family", "from the addresses", "family of a marked service", choice("inet", "inet6")),
    k("persistence_timeout", "off; bare: 360 s", "a client keeps its server this long",
          whole_seconds(1, 2678400, optional=True)),
    k("persistence_granularity", "one host", "clients that count as one", WORD),
    k("persistence_engine", "none", "persistence by something else", WORD),
    k("ops", "off", "one packet, one decision (UDP)"),
    k("hashed", "off", "an old flag of sh"),
    k("flag-1", "off", "first flag of the scheduler"),
    k("flag-2", "off", "second flag of the scheduler"),
    k("flag-3", "off", "third flag of the scheduler"),
    k("sh-port", "off", "the source port counts (sh)"),
    k("sh-fallback", "off", "another server when the hashed one is away (sh)"),
    k("mh-port", "off", "the source port counts (mh)"),
    k("mh-fallback", "off", "another server when the hashed one is away (mh)"),
    k("delay_loop", "60 s", "time between checks", seconds(0.000001)),
    k("retry", "the checker's", "failures forgiven", uint(1)),
    k("delay_before_retry", "the checker's", "time before trying again", TIMER),
    k("warmup", "delay_loop", "longest random delay of the first check", TIMER),
    k("connect_timeout", "5 s", "how long a server may take to answer", TIMER),
    k("inhibit_on_failure", "off", "weight 0 instead of removal"),
    k("slow_start", "off", "over so long the weight of a server that returns climbs, in tenths", seconds(0.01),
      ours=True),
    k("weight", "1", "weight of servers that name none", uint(1)),
    k("alpha", "off", "down until checked"),
    k("omega", "off", "run the down scripts at the end"),
    k("quorum", "1", "least weight that must be alive", uint(1)),
    k("hysteresis", "0", "tolerance around the quorum", uint()),
    k("quorum_up", "none", "run when the quorum is gained", SCRIPT),
    k("quorum_down", "none", "run when the quorum is lost", SCRIPT),
    k("ha_suspend", "off", "check only while the address is here"),
    k("smtp_alert", "global", "mail about the quorum", BOOL_OPT),
    k("virtualhost", "none", "Host header and server name", WORD),
    later("snmp_name", "none", "label in SNMP", WORD, feature="SNMP"),
    k("sorry_server", "none", "the server of last resort", IP, PORT_OPT, checked="endpoint"),
    k("sorry_server_inhibit", "off", "weight 0 instead of removal"),
    k("sorry_server_lvs_method", "the service's", "its forwarding", _METHOD, checked="lvs_method"),
    k("real_server", "", "a server: IP [PORT]", WORD, WORD_OPT, opens="real_server", checked="endpoint"),
)  # fmt: skip

_CHECKERS = (
    "TCP_CHECK", "PING_CHECK", "HTTP_GET", "SSL_GET", "SMTP_CHECK", "DNS_CHECK", "UDP_CHECK", "MISC_CHECK",
)  # fmt: skip
_OUR_CHECKERS = ("GRPC_CHECK",)

REAL_SERVER = block(
    "real_server",
    "A server",
    k("weight", "the service's", "its weight", uint(0, 2**31 - 1)),
    *_forwarding("the service's"),
    k("uthreshold", "0: off", "most connections", uint()),
    k("lthreshold", "0: off", "connections below which it serves again", uint()),
    k("inhibit_on_failure", "the service's", "weight 0 instead of removal", BOOL_OPT),
    k("slow_start", "the service's", "over so long its weight climbs when it returns, in tenths", seconds(0),
      ours=True),
    k("notify_up", "none", "run when it comes up", SCRIPT),
    k("notify_down", "none", "run when it goes down", SCRIPT),
    k("alpha", "the service's", "down until checked", BOOL_OPT),
    k("retry", "the service's", "failures forgiven", uint(1)),
    k("delay_before_retry", "the service's", "time before trying again", TIMER),
    k("warmup", "the service's", "longest random delay of the first check", TIMER),
    k("connect_timeout", "the service's", "how long it may take to answer", TIMER),
    k("delay_loop", "the service's", "time between checks", TIMER),
    k("smtp_alert", "global, else on", "mail about changes", BOOL_OPT),
    k("virtualhost", "the service's", "Host header and server name", WORD),
    later("snmp_name", "none", "label in SNMP", WORD, feature="SNMP"),
    *(k(name, "", f"a check of the kind {name}", opens=name) for name in _CHECKERS),
    k("FILE_CHECK", "", "a check of the kind FILE_CHECK", opens="FILE_CHECK"),
    k("BFD_CHECK", "", "a check of the kind BFD_CHECK", opens="BFD_CHECK"),
    *(k(name, "", f"a check of the kind {name}", opens=name, ours=True) for name in _OUR_CHECKERS),
)

_TARGET = (
    k("connect_ip", "the real server", "address to check", IP),
    k("connect_port", "the real server's", "port to check", PORT),
    k("bindto", "the kernel's choice", "source address", IP),
    k("bind_port", "the kernel's choice", "source port", PORT),
    k("bind_if", "the kernel's choice", "source device", IF),
    k("connect_timeout", "the real server's", "how long an answer may take", TIMER),
    k("fwmark", "none", "mark of the check's packets", _UP32),
)
_ALPHA = k("alpha", "the real server's", "down until checked", BOOL_OPT)
_PACE = (
    k("retry", "1; DNS 3; MISC 0", "failures forgiven", uint()),
    k("delay_before_retry", "1 s; HTTP 3 s; DNS delay_loop", "time before trying again", TIMER),
    k("warmup", "the real server's", "longest random delay of the first check", TIMER),
    k("delay_loop", "the real server's", "time between checks", TIMER),
    _ALPHA,
    k("log_all_failures", "global", "log every failure", BOOL_OPT),
)
_HTTP = (
    k("url", "needed", "a request to make", opens="url"),
    k("virtualhost", "the server's", "Host header", WORD),
    k("http_protocol", "1.0", "version of the request; 2 is not a word of keepalived",
          choice("1.0", "1.0C", "1.1", "1.1C", "2", fold=True)),
    k("fast_recovery", "off", "no delay between requests while recovering", BOOL_OPT),
    k("enable_sni", "off", "tell the server name in TLS", BOOL_OPT),
    k("sni_name", "virtualhost", "the name told", WORD_OPT),
    k("nb_get_retry", "1", "failures forgiven", uint(), deprecated="retry"),
)
_CERTIFICATE = (
    k("verify_certificate", "off", "the certificate must be of a CA we trust, and for the name told", BOOL_OPT,
          ours=True),
    k("cert_min_days", "none", "days for which the certificate must still be valid", uint(), ours=True),
)
REGEX_OPTIONS = (
    "allow_empty_class", "alt_bsux", "auto_callout", "caseless", "dollar_endonly", "dotall", "dupnames", "extended",
    "firstline", "match_unset_backref", "multiline", "never_ucp", "never_utf", "no_auto_capture", "no_auto_possess",
    "no_dotstar_anchor", "no_start_optimize", "ucp", "ungreedy", "utf", "never_backslash_c", "alt_circumflex",
    "alt_verbnames", "use_offset_limit",
)  # fmt: skip


def _checker(name: str, title: str, *rows: Keyword, target: bool = True) -> Block:
    return block(name, title, *(_TARGET if target else ()), *_PACE, *rows)


BLOCKS = (
    VIRTUAL_SERVER,
    REAL_SERVER,
    entries("virtual_server_group", "IP [PORT], a range [PORT], or fwmark N"),
    _checker("TCP_CHECK", "A connection is accepted"),
    _checker("PING_CHECK", "An echo is answered"),
    _checker("HTTP_GET", "A page is as it should be", *_HTTP),
    _checker("SSL_GET", "A page over TLS is as it should be", *_HTTP,
             k("tls_compliant", "off", "end the TLS session properly", BOOL_OPT), *_CERTIFICATE),
    block(
        "url",
        "A request",
        k("path", "needed", "what is asked for", WORD),
        k("digest", "none", "MD5 of the answer", WORD, checked="digest"),
        k("status_code", "200-299", "accepted codes, as 200 or 200-204", Arg(kind="words"),
              checked="status_code"),
        k("virtualhost", "the checker's", "Host header", WORD),
        k("regex", "none", "what the answer must contain", QUOTED),
        k("regex_no_match", "off", "the answer must not contain it"),
        k("regex_options", "none", "options of the expression", WORDS, checked="regex_options"),
        k("regex_min_offset", "0", "where a match may begin at the earliest", uint()),
        k("regex_max_offset", "none", "where a match may begin at the latest", uint()),
        k("regex_stack", "the library's", "stack of the matcher: START MAX", uint(), uint()),
        k("tls_compliant", "off", "end the TLS session properly", BOOL_OPT),
    ),
    _checker("SMTP_CHECK", "A mail server greets",
             k("helo_name", "smtpchecker.keepalived.org", "name used in HELO", WORD),
             k("host", "", "one more target", opens="host", deprecated="several SMTP_CHECK blocks")),
    block("host", "One more target", *_TARGET),
    _checker("DNS_CHECK", "A name server answers",
             k("type", "SOA", "kind of the question", choice("A", "NS", "CNAME", "SOA", "MX", "TXT", "AAAA",
                   "RRSIG", "DNSKEY")),
             k("name", ".", "the name asked for", WORD)),
    _checker("UDP_CHECK", "A datagram is answered",
             k("payload", "random", "what is sent, in hexadecimal", WORD, checked="hex"),
             k("require_reply", "off", "an answer is needed; its bytes, x for any", WORD_OPT, checked="hexx"),
             k("min_reply_length", "0", "shortest answer", uint(0, 65535)),
             k("max_reply_length", "255", "longest answer", uint(0, 65535))),
    _checker("MISC_CHECK", "A program says so",
             k("misc_path", "needed", "the program and its arguments", COMMAND),
             k("misc_timeout", "delay_loop", "how long it may take", whole_seconds(0)),
             k("misc_dynamic", "off", "its exit status sets the weight"),
             k("user", "script_user", "who runs it", USER), target=False),
    block("FILE_CHECK", "A tracked file says so",
          k("track_file", "needed", "which track_file", WORD),
          k("weight", "the file's", "multiplies the number", sint(-(2**31 - 1), 2**31 - 1),
                choice("reverse", "noreverse", optional=True))),
    block("BFD_CHECK", "A BFD session says so",
          k("name", "needed", "which bfd_instance", WORD), _ALPHA),
    _checker("GRPC_CHECK", "gRPC's standard health service says SERVING",
             k("service", "the server as a whole", "the service asked about", WORD),
             k("virtualhost", "the server's", "the authority asked", WORD),
             k("tls", "off", "speak TLS"),
             k("enable_sni", "off", "tell the server name in TLS", BOOL_OPT),
             k("sni_name", "virtualhost", "the name told", WORD_OPT),
             k("tls_compliant", "off", "end the TLS session properly", BOOL_OPT), *_CERTIFICATE),
    block("SSL", "TLS material",
          k("password", "none", "password of the key", WORD),
          k("ca", "none", "certificates we trust", PATH),
          k("certificate", "none", "our certificate", PATH),
          k("key", "none", "our key", PATH)),
)  # fmt: skip
