package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"linepay-worker/publisher"
	"linepay-worker/schemas"
)

// auditor is embedded by the verbs that change something. Each action is put on record, in LINEPAY_AUDIT, before it is done.
type auditor struct {
	Operator string `env:"LINEPAYCTL_OPERATOR" placeholder:"NAME" help:"Who does this, for the audit stream (default: the user of this machine)."`
}

// Validate keeps out names that say nothing.
func (a auditor) Validate() error {
	if a.Operator != "" && strings.TrimSpace(a.Operator) == "" {
		return errors.New("--operator ($LINEPAYCTL_OPERATOR) is blank: give a name")
	}
	return nil
}

// record is where the entries of one verb go, in one operator's name.
type record struct {
	js             jetstream.JetStream
	operator, host string
}

// open finds out who acts, and makes sure that there is a stream to put it on record in.
func (a auditor) open(ctx context.Context, js jetstream.JetStream) (*record, error) {
	r := &record{js: js, operator: a.Operator}
	if r.operator == "" {
		account, err := user.Current()
		if err != nil || account.Username == "" {
			return nil, usageError{errors.New("this machine does not say who you are: give --operator, or set LINEPAYCTL_OPERATOR")}
		}
		r.operator = account.Username
	}
	host, _ := os.Hostname()
	r.host = cmp.Or(host, "unknown")
	if _, err := js.Stream(ctx, schemas.StreamAudit); err != nil {
		return nil, explain(err, schemas.StreamAudit)
	}
	return r, nil
}

// add puts an action on record; operator and host are filled in. With an error the action must not be done.
func (r *record) add(ctx context.Context, data schemas.AuditData) error {
	data.Operator, data.Host = r.operator, r.host
	ctx, cancel := context.WithTimeout(ctx, acknowledged)
	defer cancel()
	if err := publisher.Record(ctx, r.js, schemas.NewAudit(time.Now(), data)); err != nil {
		return fmt.Errorf("nothing is done that is not on record: %w", err)
	}
	return nil
}
