package app

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

// asProgram makes the test's own program one whose only actor never ends.
const asProgram = "APP_TEST_NEVER_ENDS"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "" {
		LogRedis(zerolog.Nop()) // refused connections are wanted here
		goleak.VerifyTestMain(m)
		return
	}
	_ = Run(context.Background(), func(ctx context.Context) error {
		_, _ = os.Stdout.WriteString("running\n")
		<-ctx.Done()
		_, _ = os.Stdout.WriteString("ending\n")
		<-time.After(time.Minute)
		return nil
	})
}

func TestSecondSignalEndsAProgramThatDoesNot(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	command := exec.CommandContext(ctx, os.Args[0])
	command.Env = append(os.Environ(), asProgram+"=1")
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(output)
	for _, want := range []string{"running", "ending"} {
		if !said.Scan() || said.Text() != want {
			t.Fatalf("the program said %q, want %q", said.Text(), want)
		}
		_ = command.Process.Signal(syscall.SIGTERM)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	// The signals get their own effect back just after the first one arrived: repeat until one arrives after that.
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		select {
		case <-again.C:
			_ = command.Process.Signal(syscall.SIGTERM)
			continue
		case err = <-ended:
		}
		break
	}
	var died *exec.ExitError
	if !errors.As(err, &died) || died.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("the program ended with %v, want by the second signal", err)
	}
}
