package chaos

import (
	"os/exec"
	"syscall"
)

// endWithParent has the kernel end the child when the test's process ends, even by a panic or a kill that no cleanup survives.
func endWithParent(command *exec.Cmd) {
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
