package pull

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go"
)

// asked is how often JetStream is asked until it has answered.
const asked = 3

// Answered asks JetStream again what it has not answered within its time (nats.go's is five seconds): a cluster that elects a leader loses
// what it is asked meanwhile. What it does answer is the answer, an error too. To ask must do no harm a second time.
func Answered(ctx context.Context, ask func() error) (err error) {
	for range asked {
		err = ask()
		if unanswered := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout); !unanswered || ctx.Err() != nil {
			break
		}
	}
	return err
}
