"""What a partner's script does with paramiko: HOST-KEYS PORT USER KEY put|stage|get|ls FROM TO."""

import os
import sys
from pathlib import Path

import paramiko

known_hosts, port, user, key, action, source, *rest = sys.argv[1:]
with paramiko.SSHClient() as ssh:
    ssh.load_host_keys(known_hosts)
    ssh.connect("127.0.0.1", int(port), user, key_filename=key, look_for_keys=False, allow_agent=False)
    with ssh.open_sftp() as sftp:
        if action == "put":
            sftp.put(source, rest[0])
            said = Path(source).stat()
            sftp.utime(rest[0], (said.st_atime, said.st_mtime))
        elif action == "stage":
            sftp.put(source, f"{rest[0]}.part")
            sftp.posix_rename(f"{rest[0]}.part", rest[0])
        elif action == "get":
            sftp.get(source, rest[0])
            said = sftp.stat(source)
            os.utime(rest[0], (said.st_atime, said.st_mtime))
        else:
            sys.stdout.write("\n".join(sftp.listdir(source)))
