package main

import (
	"fmt"

	"linepay-worker/cmd/internal/app"
)

type versionCommand struct{}

// Run prints the version.
func (versionCommand) Run(c console) error {
	_, err := fmt.Fprintln(c.out, app.Version(program))
	return err
}
