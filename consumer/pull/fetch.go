// Package pull asks JetStream for messages, of which it misses none, whatever their publishers have written into them. It is a leaf.
package pull

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// JetStream's own Fetch takes a message without a body for one of the server's status messages if a publisher gave it a header named
// Status: such a message would never be seen, and would end every pull that it comes in. Here what counts is what no publisher can set:
// a message of a stream has a reply subject, on which it is acknowledged, and status messages have none. The same goes for messages that are read
// without their bodies.

// ErrSilent means that JetStream has not even said that there is nothing.
var ErrSilent = errors.New("no answer to a pull from JetStream")

// Fetch asks a pull consumer of a stream for n messages once, hands each to got as it comes, and returns when all have come, or wait is
// over.
//
// Errors: ErrSilent; that of the context; of the connection; what the server says, such as that the consumer was deleted.
func Fetch(ctx context.Context, js jetstream.JetStream, stream, consumer string, n int, wait time.Duration, got func(*nats.Msg)) error {
	nc, inbox := js.Conn(), js.Conn().NewInbox()
	arrived := make(chan *nats.Msg, n+8)
	sub, err := nc.ChanSubscribe(inbox, arrived)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	request, err := json.Marshal(map[string]int64{"batch": int64(n), "expires": int64(wait)})
	if err != nil {
		return err
	}
	if err := nc.PublishRequest(apiPrefix(js)+"CONSUMER.MSG.NEXT."+stream+"."+consumer, inbox, request); err != nil {
		return err
	}
	silent := time.NewTimer(wait + time.Second)
	defer silent.Stop()
	for n > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-silent.C:
			return ErrSilent
		case msg := <-arrived:
			if msg.Reply != "" {
				n--
				got(msg)
				continue
			}
			switch status := msg.Header.Get("Status"); status {
			case "100": // a heartbeat
			case "404", "408": // the time is over
				return nil
			case "503":
				return nats.ErrNoResponders
			default:
				return fmt.Errorf("pull: status %s: %s", status, strings.ToLower(msg.Header.Get("Description")))
			}
		}
	}
	return nil
}

func apiPrefix(js jetstream.JetStream) string {
	switch o := js.Options(); {
	case o.APIPrefix != "":
		return strings.TrimSuffix(o.APIPrefix, ".") + "."
	case o.Domain != "":
		return "$JS." + o.Domain + ".API."
	default:
		return "$JS.API."
	}
}
