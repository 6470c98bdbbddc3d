import subprocess
import sys
from pathlib import Path

import pytest

from transformer.errors import UserError
from transformer.runtime.files import locked

HOLD = "import sys; from pathlib import Path; from transformer.runtime.files import locked\nwith locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"  # noqa: E501


def test_a_directory_is_locked_for_one_at_a_time(tmp_path: Path) -> None:
    run = tmp_path / "new" / "run"
    with locked(run), pytest.raises(UserError, match="another process is at work in it"), locked(run):
        pass
    with locked(run):  # free again
        assert run.is_dir()


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with pytest.raises(UserError), locked(tmp_path):
            pass
        holder.kill()
        holder.wait()
    with locked(tmp_path):
        assert (tmp_path / ".lock").is_file()
