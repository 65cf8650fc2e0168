"""Keys of the terminal: read one by one, and the terminal is left as it was."""

from __future__ import annotations

import os
import pty
import termios

from dvla.runtime.panel_keys import Keys


def test_keys_are_read_at_once_and_the_terminal_is_given_back() -> None:
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    with Keys(slave) as keys:
        assert keys.active and keys.pressed() == ""
        os.write(master, b"hR")
        pressed = ""
        while len(pressed) < 2:
            pressed += keys.pressed()
        assert pressed == "hR"
        assert termios.tcgetattr(slave)[3] & termios.ISIG, "Ctrl-C stays a signal"
    assert termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)


def test_without_a_terminal_there_are_no_keys() -> None:
    with Keys(-1) as keys:
        assert not keys.active and keys.pressed() == ""
