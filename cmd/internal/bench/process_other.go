//go:build !linux

package main

import (
	"errors"
	"os/exec"
)

// endWithParent needs Linux. Elsewhere a bench that is killed leaves its processes behind.
func endWithParent(*exec.Cmd) {}

func loadAverage() string { return "unknown" }

func usageOf(int) (usage, error) {
	return usage{}, errors.New("the CPU time and memory of another process are read as Linux tells them: run the bench on Linux")
}
