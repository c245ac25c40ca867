package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// loadAverage is that of the last minute: what else the machine does is in all figures.
func loadAverage() string {
	content, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	lastMinute, _, _ := strings.Cut(string(content), " ")
	return lastMinute
}

// endWithParent has the kernel end the child when the bench ends, even by a kill.
func endWithParent(command *exec.Cmd) {
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// usageOf reads the process' CPU clock, which has nanoseconds where /proc/PID/stat has hundredths of a second, and its peak memory.
func usageOf(pid int) (u usage, err error) {
	const processClock = 2 // CPUCLOCK_SCHED: a clock's number is ^pid<<3 and the kind of clock
	var spent unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|processClock), &spent); err != nil {
		return u, fmt.Errorf("CPU time: %w", err)
	}
	u.cpu = time.Duration(spent.Nano())
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, err
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	_, err = fmt.Sscan(rest, &u.peak)
	return u, err
}
