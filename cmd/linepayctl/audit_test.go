package main

import (
	"errors"
	"os"
	"os/user"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"linepay-worker/consumer/consumertest"
	"linepay-worker/publisher"
	"linepay-worker/schemas"
)

func TestActionIsPutOnRecordInTheOperatorsName(t *testing.T) {
	t.Parallel()
	js := consumertest.NATS(t).JetStream(t)
	if _, err := (auditor{Operator: "night-shift"}).open(t.Context(), js); err == nil || !strings.Contains(err.Error(), "stream LINEPAY_AUDIT does not exist") {
		t.Errorf("without a stream the error is %v", err)
	}
	if _, err := publisher.Provision(t.Context(), js, publisher.StreamOptions{}, true); err != nil {
		t.Fatal(err)
	}
	account, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []auditor{{Operator: "night-shift"}, {}} {
		record, err := a.open(t.Context(), js)
		if err != nil {
			t.Fatal(err)
		}
		if err := record.add(t.Context(), schemas.AuditData{Action: schemas.ActionPause, Channel: "tw", Reason: "maintenance"}); err != nil {
			t.Fatal(err)
		}
		if err := record.add(t.Context(), schemas.AuditData{Action: "steal", Channel: "tw"}); !errors.Is(err, schemas.ErrAudit) {
			t.Errorf("an unknown action: %v", err)
		}
	}
	var operators []string
	for _, msg := range consumertest.Collect(t, js, schemas.StreamAudit, "linepay.audit.tw.pause") {
		entry, err := schemas.DecodeAudit(msg.Data)
		if err != nil || entry.Data.Host != host || entry.Data.Reason != "maintenance" {
			t.Fatalf("entry %+v, %v", entry, err)
		}
		operators = append(operators, entry.Data.Operator)
	}
	if diff := cmp.Diff([]string{"night-shift", account.Username}, operators); diff != "" {
		t.Errorf("operators (-want +got):\n%s", diff)
	}
	if err := (auditor{Operator: " "}).Validate(); err == nil {
		t.Error("a blank name is taken")
	}
}
