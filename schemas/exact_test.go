package schemas_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

func TestIDsAndAmountsArriveInEventsToTheLastDigit(t *testing.T) {
	t.Parallel()
	check := func(t fataler, id int64, cents int64, asNumber bool) {
		amount := fmt.Sprintf("%d.%02d", cents/100, cents%100)
		idLiteral, amountLiteral := fmt.Sprintf("%q", fmt.Sprint(id)), fmt.Sprintf("%q", amount)
		if asNumber {
			idLiteral, amountLiteral = fmt.Sprint(id), amount
		}
		body := fmt.Sprintf(`{"specversion":"1.0","id":"1","source":"/s","type":"linepay.command.confirm.v1",
		  "data":{"transactionId":%s,"orderId":"A","amount":%s,"currency":"USD"}}`, idLiteral, amountLiteral)
		c, err := decode(linepay.Confirm, []byte(body))
		if err != nil {
			t.Fatalf("%v", err)
		}
		d := c.Data.(*schemas.ConfirmData)
		event, err := schemas.NewEvent(schemas.EventCaptured, time.Unix(1, 0), schemas.EventData{
			Channel: c.Channel, Operation: c.Operation, Command: schemas.CommandRef{Source: c.Source, ID: c.ID},
			OrderID: d.OrderID, TransactionID: d.TransactionID, Amount: d.Amount, Currency: d.Currency,
		}).Encode()
		if err != nil {
			t.Fatalf("%v", err)
		}
		var got struct {
			Data struct{ TransactionID, Amount string }
		}
		if err := json.Unmarshal(event, &got); err != nil {
			t.Fatalf("%v", err)
		}
		if got.Data.TransactionID != fmt.Sprint(id) || !linepay.MustAmount(got.Data.Amount).Equal(linepay.MustAmount(amount)) {
			t.Fatalf("sent %d and %s, the event says %+v", id, amount, got.Data)
		}
	}
	for _, id := range []int64{1<<63 - 1, 2018082512345678910, 2021121600698709710, 1<<53 + 1, 1} {
		check(t, id, 999999999999999_99, true)
		check(t, id, 1, false)
	}
	rapid.Check(t, func(t *rapid.T) {
		check(t, rapid.Int64Range(1, 1<<63-1).Draw(t, "id"), rapid.Int64Range(1, 1e17).Draw(t, "cents"), rapid.Bool().Draw(t, "as a number"))
	})
}

// linePayBodies are request bodies in the shape of LINE Pay's documentation, by operation, and whatever recordings lie beside the
// repository.
func linePayBodies(t *testing.T) map[string]string {
	bodies := map[string]string{
		"confirm.json": `{"amount": 1000, "currency": "TWD"}`,
		"capture.json": `{"amount": 800, "currency": "TWD"}`,
		"refund.json":  `{"refundAmount": 250.5}`,
		"request.json": `{"amount":250,"currency":"THB","orderId":"EXAMPLE-20260131-1","packages":[{"id":"shop-1","amount":250.00,"name":"Tea house",
		  "products":[{"id":"tea-1","name":"Oolong","imageUrl":"https://shop.example/oolong.png","quantity":1,"price":250}]}],
		  "redirectUrls":{"confirmUrl":"https://shop.example/paid","cancelUrl":"https://shop.example/left"}}`,
		"preapproved-payment.json": `{"productName":"Oolong, monthly","amount":250,"currency":"THB","orderId":"EXAMPLE-20260131-2"}`,
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("there is no go.mod above the package")
		}
		dir = filepath.Dir(dir)
	}
	paths, err := filepath.Glob(filepath.Join(dir, "..", "shared", "linepay", "requests", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		bodies["recorded/"+filepath.Base(path)] = string(body)
	}
	return bodies
}

func TestLinePaysOwnBodiesAreCommandData(t *testing.T) {
	t.Parallel()
	added := map[linepay.Operation]map[string]any{
		linepay.Confirm:        {"transactionId": "1", "orderId": "A"},
		linepay.Capture:        {"transactionId": "1", "orderId": "A"},
		linepay.Refund:         {"transactionId": "1", "orderId": "A", "refundId": "R"},
		linepay.Request:        {},
		linepay.PreapprovedPay: {"regKey": "RK1"},
	}
	for name, body := range linePayBodies(t) {
		var op linepay.Operation
		for candidate := range added {
			file := filepath.Base(name)
			if strings.HasPrefix(file, string(candidate)) || candidate == linepay.PreapprovedPay && strings.HasPrefix(file, "preapproved-pay") {
				op = candidate
			}
		}
		data := map[string]json.RawMessage{}
		if err := json.Unmarshal([]byte(body), &data); err != nil || op == "" {
			t.Fatalf("%s: operation %q, %v", name, op, err)
		}
		for member, v := range added[op] {
			data[member], _ = json.Marshal(v)
		}
		event, err := json.Marshal(map[string]any{
			"specversion": "1.0", "id": "1", "source": "/s", "type": schemas.CommandType(op), "data": data,
		})
		if err != nil {
			t.Fatal(err)
		}
		c, err := decode(op, event)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := validate(t, "command."+string(op), event); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		again(t, c)
	}
}
