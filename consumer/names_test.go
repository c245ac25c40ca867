package consumer

import (
	"strings"
	"testing"
	"time"

	"linepay-worker/idempotency"
	"linepay-worker/linepay"
)

// decoded is a command as the first step leaves it.
func decoded(t *testing.T, op linepay.Operation, data string) *command {
	t.Helper()
	w, err := New(plain(t, 0))
	if err != nil {
		t.Fatal(err)
	}
	cmd, err := w.decode(&Message{
		Subject: "linepay.commands.tw." + string(op),
		Body:    []byte(`{"specversion":"1.0","id":"C-1","source":"/test","type":"linepay.command.` + string(op) + `.v1","data":` + data + `}`),
	})
	if err != nil {
		t.Fatalf("%s %s: %v", op, data, err)
	}
	return cmd
}

const page = `"packages":[{"id":"1","amount":"100","products":[{"name":"A book","quantity":"1","price":"100"}]}],"redirectUrls":{"confirmUrl":"https://shop.example/%","cancelUrl":"https://shop.example/cancel"}`

// requested is the data of a request, with whatever further members.
func requested(confirmPath, more string) string {
	return `{"amount":"100","currency":"TWD","orderId":"O-1",` + strings.Replace(page, "%", confirmPath, 1) + more + `}`
}

// Two commands are one operation when they have one key, and meet at LINE Pay when they have one entity.
func TestGuardKnowsEveryOperationByItsName(t *testing.T) {
	t.Parallel()
	const payment = `{"transactionId":"2018082512345678910","orderId":"O-1","amount":"100","currency":"TWD"}`
	for _, c := range []struct {
		op            linepay.Operation
		data          string
		kind, id, key string
	}{
		{linepay.Request, requested("c", ""), "order", "O-1", "request:O-1"},
		{
			linepay.PreapprovedPay, `{"regKey":"K1","orderId":"O-1","productName":"A book","amount":"100","currency":"TWD"}`,
			"order", "O-1", "preapproved-pay:O-1",
		},
		{linepay.Confirm, payment, "transaction", "2018082512345678910", "confirm:2018082512345678910"},
		{linepay.Capture, payment, "transaction", "2018082512345678910", "capture:2018082512345678910"},
		{linepay.Void, `{"transactionId":2018082512345678910,"orderId":"O-1"}`, "transaction", "2018082512345678910", "void:2018082512345678910"},
		{
			linepay.Refund, `{"transactionId":"2018082512345678910","orderId":"O-1","refundAmount":"10","refundId":"R:1"}`,
			"transaction", "2018082512345678910", "refund:2018082512345678910:R%3A1",
		},
		{linepay.Refund, `{"transactionId":"2018082512345678910","orderId":"O-1"}`, "transaction", "2018082512345678910", "refund:2018082512345678910:full"},
		{
			linepay.Refund, `{"transactionId":"2018082512345678910","orderId":"O-1","refundAmount":"10","refundId":"full"}`,
			"transaction", "2018082512345678910", "refund:2018082512345678910:%66ull",
		},
		// The first 32 digits of SHA-256("K1"): the key itself is a secret.
		{linepay.PreapprovedExpire, `{"regKey":"K1"}`, "key", "K1", "preapproved-expire:badb7283766a112aebdb2936077a25f5"},
		{linepay.Check, `{"transactionId":"1"}`, "", "", ""},
		{linepay.Details, `{"orderIds":["O-1"]}`, "", "", ""},
		{linepay.PreapprovedCheck, `{"regKey":"K1"}`, "", "", ""},
	} {
		cmd := decoded(t, c.op, c.data)
		if cmd.invalid != nil {
			t.Errorf("%s %s is invalid: %v", c.op, c.data, cmd.invalid)
		}
		want := idempotency.Entity{Host: "sandbox-api-pay.line.me", ChannelID: "1650000001", Kind: c.kind, ID: c.id}
		if cmd.entity != want || cmd.key != c.key {
			t.Errorf("%s: %q on %+v, want %q on %+v", c.op, cmd.key, cmd.entity, c.key, want)
		}
		if (cmd.fingerprint == "") != c.op.Reads() {
			t.Errorf("%s: fingerprint is %q", c.op, cmd.fingerprint)
		}
	}
}

func TestInvalidDataThatCanBeNamedKeepsItsNameAndHasNoFingerprint(t *testing.T) {
	t.Parallel()
	named := decoded(t, linepay.Confirm, `{"transactionId":"7","orderId":"O-1","amount":"x","currency":"TWD"}`)
	if named.invalid == nil || !named.unfit() || named.key != "confirm:7" || named.fingerprint != "" {
		t.Errorf("a broken amount: %q with fingerprint %q, invalid %v", named.key, named.fingerprint, named.invalid)
	}
	nameless := decoded(t, linepay.PreapprovedPay, `{}`)
	if nameless.invalid == nil || nameless.key != "" || nameless.entity.Kind != "" {
		t.Errorf("no order: %q on %+v", nameless.key, nameless.entity)
	}
	// Data without a transaction id must not put all such commands under one name.
	if lost := decoded(t, linepay.Confirm, `{"orderId":"O-1"}`); lost.key != "" {
		t.Errorf("a confirm without a transaction is called %q", lost.key)
	}
}

func TestFingerprintTellsDataApartByMeaning(t *testing.T) {
	t.Parallel()
	pay := func(capture string) string {
		return `{"regKey":"K1","orderId":"O-1","productName":"A book","amount":"100","currency":"TWD"` + capture + `}`
	}
	confirm := func(id, amount string) string {
		return `{"transactionId":` + id + `,"orderId":"O-1","amount":` + amount + `,"currency":"TWD"}`
	}
	for _, c := range []struct {
		name string
		op   linepay.Operation
		a, b string
		same bool
	}{
		{"amount in other spellings", linepay.Confirm, confirm(`7`, `100`), confirm(`"7"`, `"100"`), true},
		{"amount with needless decimals", linepay.Confirm, confirm(`7`, `"100.00"`), confirm(`7`, `1e2`), true},
		{"another amount", linepay.Confirm, confirm(`7`, `100`), confirm(`7`, `101`), false},
		{"capture true is LINE Pay's default", linepay.PreapprovedPay, pay(""), pay(`,"capture":true`), true},
		{"capture false is not", linepay.PreapprovedPay, pay(""), pay(`,"capture":false`), false},
		{"a page elsewhere", linepay.Request, requested("a", ""), requested("b", ""), true},
		{"a request that captures", linepay.Request, requested("a", `,"options":{"payment":{"payType":"PREAPPROVED"}}`), requested("a", `,"options":{"payment":{"payType":"PREAPPROVED","capture":true}}`), true},
		{"a request that only authorises", linepay.Request, requested("a", `,"options":{"payment":{"capture":false}}`), requested("a", `,"options":{"payment":{"capture":true}}`), false},
		{"options that say nothing of the payment", linepay.Request, requested("a", ""), requested("a", `,"options":{"display":{"locale":"en"}}`), false},
		{"a request for a key", linepay.Request, requested("a", ""), requested("a", `,"options":{"payment":{"payType":"PREAPPROVED"}}`), false},
		{"members in another order", linepay.Void, `{"orderId":"O-1","transactionId":"7"}`, `{"transactionId":7,"orderId":"O-1"}`, true},
	} {
		a, b := decoded(t, c.op, c.a), decoded(t, c.op, c.b)
		if a.invalid != nil || b.invalid != nil {
			t.Errorf("%s: invalid: %v, %v", c.name, a.invalid, b.invalid)
		}
		if (a.fingerprint == b.fingerprint) != c.same {
			t.Errorf("%s: the same is %v, want %v\n%s\n%s", c.name, !c.same, c.same, c.a, c.b)
		}
	}
}

// Only the copy that is fingerprinted loses the default; LINE Pay is still called with what was asked for.
func TestFingerprintLeavesTheCommandAsItIs(t *testing.T) {
	t.Parallel()
	cmd := decoded(t, linepay.Request, requested("a", `,"options":{"payment":{"payType":"NORMAL","capture":true}}`))
	if normal(cmd.Data) == cmd.Data {
		t.Fatal("the data was not copied")
	}
	body, err := cmd.Encode()
	if err != nil || !strings.Contains(string(body), `"capture":true`) {
		t.Errorf("the command lost its capture: %s, %v", body, err)
	}
}

func TestCommandExpiresByTheWorkersClock(t *testing.T) {
	t.Parallel()
	w, err := New(plain(t, 0))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		expiry string
		want   bool
	}{
		{"", false},
		{`"expirytime":"` + time.Now().Add(-time.Second).Format(time.RFC3339Nano) + `",`, true},
		{`"expirytime":"` + time.Now().Add(time.Hour).Format(time.RFC3339Nano) + `",`, false},
	} {
		cmd, err := w.decode(&Message{
			Subject: "linepay.commands.tw.void",
			Body:    []byte(`{"specversion":"1.0","id":"1","source":"/s","type":"linepay.command.void.v1",` + c.expiry + `"data":{"transactionId":"7","orderId":"O"}}`),
		})
		if err != nil || cmd.expired != c.want || cmd.unfit() != c.want {
			t.Errorf("%s: expired is %v, %v", c.expiry, cmd.expired, err)
		}
	}
}
