package consumertest

import (
	"os"
	"os/exec"
	"syscall"
)

// endWithParent has the kernel end the child when the test's process ends, even by a panic or a kill that no cleanup survives.
func endWithParent(command *exec.Cmd) {
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// kill ends a process and those that it has forked: Redis writes its snapshots in a child, which would go on writing into a folder that the
// test is about to remove.
func kill(process *os.Process) { _ = syscall.Kill(-process.Pid, syscall.SIGKILL) }
