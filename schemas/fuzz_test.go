package schemas_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"linepay-worker/schemas"
)

func FuzzDecodeCommand(f *testing.F) {
	for _, kind := range []string{"valid", "invalid"} {
		for name, body := range corpus(f, kind) {
			f.Add(schemas.CommandSubject("default", operationOf(name)), "", body)
		}
	}
	f.Add(confirmSubject, "c-1", []byte(confirmData))
	f.Fuzz(func(t *testing.T, subject, id string, body []byte) {
		var headers map[string][]string
		if id != "" { // binary mode
			headers = map[string][]string{
				"ce-specversion": {"1.0"}, "ce-id": {id}, "ce-source": {"/s"}, "ce-type": {"linepay.command.confirm.v1"},
			}
		}
		c, err := schemas.DecodeCommand(subject, headers, body)
		var unreadable *schemas.UnreadableError
		var invalid *schemas.InvalidError
		switch {
		case err == nil:
			again(t, c)
		case errors.As(err, &unreadable):
			if c != nil {
				t.Fatal("unreadable, and yet there is a command")
			}
		case !errors.As(err, &invalid) || len(invalid.Errors) == 0 || len(invalid.Errors) > 20 || c == nil || c.Data == nil:
			t.Fatalf("%v, %v", c, err)
		}
	})
}

func FuzzDecodeEvent(f *testing.F) {
	for _, name := range schemas.EventNames() {
		text, err := schemas.Schema("event." + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"specversion":"1.0","id":"1","source":"/linepay-worker/a","type":"linepay.event.status.v1","time":"2026-01-31T12:00:00Z",
	  "data":{"channel":"a","operation":"check","command":{"source":"/s","id":"1"},"status":"waiting"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := schemas.DecodeEvent(body)
		if err != nil {
			return
		}
		written, err := e.Encode()
		if err != nil {
			return // a time of year 10000 in UTC can be read and not be written
		}
		back, err := schemas.DecodeEvent(written)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := back.Encode(); err != nil {
			t.Fatal(err)
		}
		if back.ID != e.ID || back.Data.TransactionID != e.Data.TransactionID || !back.Data.Amount.Equal(e.Data.Amount) {
			t.Fatalf("%+v became %+v", e, back)
		}
	})
}

func FuzzParseSubject(f *testing.F) {
	f.Add(confirmSubject)
	f.Add("linepay.events.default.captured.A%2E1")
	f.Add("linepay.events.default.details._")
	f.Fuzz(func(t *testing.T, subject string) {
		if channel, op, err := schemas.ParseCommandSubject(subject); err == nil {
			if diff := cmp.Diff(subject, schemas.CommandSubject(channel, op)); diff != "" {
				t.Fatal(diff)
			}
		}
		if channel, event, order, err := schemas.ParseEventSubject(subject); err == nil {
			if diff := cmp.Diff(subject, schemas.EventSubject(channel, event, order)); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}
