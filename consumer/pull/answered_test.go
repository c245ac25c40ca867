package pull_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/consumer/pull"
)

func TestWhatIsNotAnsweredIsAskedAgain(t *testing.T) {
	t.Parallel()
	silence := fmt.Errorf("look at the stream: %w", context.DeadlineExceeded)
	for name, c := range map[string]struct {
		answers []error
		want    error
		asked   int
	}{
		"an answer is taken":                   {[]error{nil}, nil, 1},
		"so is an error that is one":           {[]error{jetstream.ErrStreamNotFound}, jetstream.ErrStreamNotFound, 1},
		"silence is asked again":               {[]error{silence, nats.ErrTimeout, nil}, nil, 3},
		"until something is answered":          {[]error{silence, jetstream.ErrStreamNotFound}, jetstream.ErrStreamNotFound, 2},
		"and silence is told where it goes on": {[]error{silence, silence, silence, nil}, context.DeadlineExceeded, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := 0
			err := pull.Answered(t.Context(), func() error {
				asked++
				return c.answers[asked-1]
			})
			if !errors.Is(err, c.want) || asked != c.asked {
				t.Errorf("error %v after %d questions, want %v after %d", err, asked, c.want, c.asked)
			}
		})
	}
}

func TestWhoIsToldToStopAsksNoMore(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	asked := 0
	err := pull.Answered(ctx, func() error {
		asked++
		stop()
		return context.DeadlineExceeded
	})
	if asked != 1 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v after %d questions, want one", err, asked)
	}
}
