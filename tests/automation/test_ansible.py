"""A role's life with ansible-core itself: template, validation, handler, idempotence, and a mistake that goes nowhere.

On a host made of namespaces of this process's children, where `keepalived` on the path is `holdfast-keepalived`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

BIN = Path(sys.executable).parent

TEMPLATE = """\
#
# {{ ansible_managed }}
#
vrrp_instance cluster {
  interface eth0
  state BACKUP
  virtual_router_id 51
  priority {{ priority }}   # of {{ priority }}
  {% if extra is defined %}
  {{ extra }}
  {% endif %}
  virtual_ipaddress {
    {% for vip in vips %}
    {{ vip }} dev eth0
    {% endfor %}
  }
}
"""

PLAYBOOK = """\
- hosts: localhost
  connection: local
  gather_facts: false
  vars:
    ansible_managed: Ansible managed
    vips: [192.0.2.100/24, 192.0.2.101/24]
  tasks:
    - name: Ask for the version
      ansible.builtin.command: keepalived --version
      register: asked
      changed_when: false
      tags: version
    - name: See whether it can test a configuration
      ansible.builtin.assert:
        that: >-
          asked.stderr_lines[0] | regex_search('[kK]eepalived v(.*) ', '\\\\1') | first is version('2.0.4', 'ge')
      tags: version
    - name: Write the configuration
      ansible.builtin.template:
        src: keepalived.conf.j2
        dest: /etc/keepalived/keepalived.conf
        mode: "0640"
        lstrip_blocks: true
        validate: keepalived --config-test -f %s
      notify: Reload
  handlers:
    - name: Reload
      ansible.builtin.shell: test ! -e /run/keepalived.pid || kill -HUP "$(cat /run/keepalived.pid)"
"""

STEPS = r"""
set -eu
mount -t tmpfs none /run && mount -t tmpfs none /etc/keepalived
ip link set lo up; ip link add eth0 type veth peer name eth1
ip address add 192.0.2.11/24 dev eth0; ip link set eth0 up; ip link set eth1 up
play() { ansible-playbook -i localhost, play.yml -e "$2" $3 >$1.out 2>&1 && echo 0 >$1.status || echo $? >$1.status; }
await() { n=0; until holdfast status --json >status.json 2>/dev/null && grep -q "$1" status.json; do
    n=$((n + 1)); [ $n -lt 80 ] || { echo "no $1" >&2; cat log status.json >&2; exit 1; }; sleep 0.05; done; }
play first '{"priority": 100}' --tags=all
keepalived --dont-fork --log-console --no-syslog 2>log & daemon=$!
await '"state":"MASTER"'
play again '{"priority": 100}' --skip-tags=version
play changed '{"priority": 150}' --skip-tags=version
await '"effective_priority":150'
cp status.json changed.json
play broken '{"priority": 150, "extra": "priorty 200"}' --skip-tags=version
grep -c 'priorty' /etc/keepalived/keepalived.conf >kept || :
holdfast status --json >broken.json
kill "$daemon"; wait "$daemon" && echo 0 >ended || echo $? >ended
"""


def play_through(here: Path) -> None:
    """Go through the steps in the directory `here`; what each came to lies there afterwards."""
    (here / "keepalived.conf.j2").write_text(TEMPLATE)
    (here / "play.yml").write_text(PLAYBOOK)
    (here / "bin").mkdir()
    (here / "bin" / "keepalived").symlink_to(BIN / "holdfast-keepalived")
    Path("/etc/keepalived").mkdir(exist_ok=True)
    environment = {
        **os.environ, "PATH": f"{here}/bin:{BIN}:/usr/sbin:/usr/bin:/sbin:/bin", "ANSIBLE_HOME": str(here / "home"),
        "ANSIBLE_NOCOLOR": "1", "LC_ALL": "C.UTF-8", "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
    }  # fmt: skip
    environment.pop("HOLDFAST_RUN_DIR", None)
    ran = subprocess.run(
        ["unshare", "-mn", "sh", "-c", STEPS], cwd=here, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr


def outcome(here: Path, step: str) -> tuple[int, str]:
    """A play's exit status, and its recap's count of changes."""
    recap = (here / f"{step}.out").read_text().rpartition("PLAY RECAP")[2]
    return int((here / f"{step}.status").read_text()), next(word for word in recap.split() if word.startswith("changed="))


def test_a_role_lives_with_it(tmp_path: Path) -> None:
    """One test, for the plays are slow: each takes up the host as the one before left it."""
    play_through(tmp_path)

    assert outcome(tmp_path, "first") == (0, "changed=2"), (tmp_path / "first.out").read_text()  # and the handler
    assert outcome(tmp_path, "again") == (0, "changed=0")

    assert outcome(tmp_path, "changed") == (0, "changed=2")
    [instance] = json.loads((tmp_path / "changed.json").read_text())["instances"]
    assert (instance["priority"], instance["vips"]) == (150, ["192.0.2.100/24", "192.0.2.101/24"])

    assert outcome(tmp_path, "broken") == (2, "changed=0")
    assert "Unknown keyword 'priorty'" in (tmp_path / "broken.out").read_text()
    assert (tmp_path / "kept").read_text().strip() == "0"  # so often it stands in the file
    [instance] = json.loads((tmp_path / "broken.json").read_text())["instances"]
    assert (instance["state"], instance["priority"]) == ("MASTER", 150)

    assert (tmp_path / "ended").read_text().strip() == "0"
