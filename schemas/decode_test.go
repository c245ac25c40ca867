package schemas_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"linepay-worker/linepay"
	"linepay-worker/schemas"
)

const (
	confirmSubject = "linepay.commands.default.confirm"
	confirmData    = `{"transactionId":"2018082512345678910","orderId":"ORDER-1","amount":"1000","currency":"TWD"}`
	confirmBody    = `{"specversion":"1.0","id":"c-1","source":"/checkout","type":"linepay.command.confirm.v1","data":` + confirmData + `}`
	trace          = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	otherTrace     = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
)

func wantConfirm() *schemas.Command {
	return &schemas.Command{
		ID: "c-1", Source: "/checkout", Type: "linepay.command.confirm.v1", Channel: "default", Operation: linepay.Confirm,
		Data: &schemas.ConfirmData{
			TransactionID: 2018082512345678910, OrderID: "ORDER-1", Amount: linepay.MustAmount("1000"), Currency: "TWD",
		},
	}
}

func TestStructuredCommandIsReadWithAnyContentType(t *testing.T) {
	t.Parallel()
	for _, headers := range []map[string][]string{
		nil,
		{"Content-Type": {"application/cloudevents+json"}},
		{"content-type": {"Application/CloudEvents+JSON; charset=UTF-8"}},
		{"Content-Type": {"application/json"}},
		{"Content-Type": {"text/plain"}, "Nats-Msg-Id": {"1"}},
	} {
		c, err := schemas.DecodeCommand(confirmSubject, headers, []byte(confirmBody))
		if diff := cmp.Diff(wantConfirm(), c); err != nil || diff != "" {
			t.Errorf("%v: %v %s", headers, err, diff)
		}
	}
}

func TestBinaryCommandIsReadFromHeadersInAnyCase(t *testing.T) {
	t.Parallel()
	c, err := schemas.DecodeCommand(confirmSubject, map[string][]string{
		"CE-SpecVersion": {"1.0"}, "ce-id": {"%E6%B3%A8%20c-1%25"}, "Ce-Source": {"/checkout"}, "ce-type": {"linepay.command.confirm.v1"},
		"ce-time": {"2026-01-31T12:00:00+08:00"}, "ce-expirytime": {"2026-01-31T04:15:00Z"}, "ce-subject": {"ORDER-1"},
		"ce-tenant": {"100%"}, "Content-Type": {"application/json"}, "Traceparent": {trace},
	}, []byte(confirmData))
	want := wantConfirm()
	want.ID, want.Subject, want.DataContentType, want.TraceParent = "注 c-1%", "ORDER-1", "application/json", trace
	want.Time = time.Date(2026, 1, 31, 4, 0, 0, 0, time.UTC)
	want.ExpiryTime = want.Time.Add(15 * time.Minute)
	if diff := cmp.Diff(want, c); err != nil || diff != "" {
		t.Error(err, diff)
	}
	again(t, c)
}

func TestBinaryCommandHasItsOwnFaults(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		change map[string][]string
		body   string
		want   string
	}{
		"bad percent":         {map[string][]string{"ce-source": {"/a%zz"}}, confirmData, "header ce-source is not percent-encoded UTF-8"},
		"cut percent":         {map[string][]string{"ce-source": {"/a%4"}}, confirmData, "header ce-source is not percent-encoded UTF-8"},
		"bad UTF-8":           {map[string][]string{"ce-source": {"/%ff"}}, confirmData, "header ce-source is not percent-encoded UTF-8"},
		"two ids":             {map[string][]string{"CE-ID": {"c-2"}}, confirmData, "header ce-id is there twice"},
		"two ids in one":      {map[string][]string{"ce-id": {"c-1", "c-2"}}, confirmData, "header ce-id is there twice"},
		"encoded line break":  {map[string][]string{"ce-id": {"a%0d%0ab"}}, confirmData, "id must be a string of 1 to 256 characters without control"},
		"no version":          {map[string][]string{"ce-specversion": nil}, confirmData, `specversion must be "1.0"`},
		"not JSON":            {nil, "transactionId=1", "the body is not JSON"},
		"no body":             {nil, "", "/data is missing"},
		"not a JSON type":     {map[string][]string{"Content-Type": {"text/xml"}}, confirmData, "/datacontenttype must be a JSON media type"},
		"own type of content": {map[string][]string{"ce-datacontenttype": {"text/xml"}}, confirmData, "/datacontenttype must be a JSON media type"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			headers := map[string][]string{
				"ce-specversion": {"1.0"}, "ce-id": {"c-1"}, "ce-source": {"/checkout"}, "ce-type": {"linepay.command.confirm.v1"},
				"Content-Type": {"application/json"},
			}
			for key, values := range row.change {
				headers[key] = values
			}
			_, err := schemas.DecodeCommand(confirmSubject, headers, []byte(row.body))
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %q", err, row.want)
			}
		})
	}
}

func TestRepeatedEqualHeaderIsNoFault(t *testing.T) {
	t.Parallel()
	_, err := schemas.DecodeCommand(confirmSubject, map[string][]string{
		"ce-specversion": {"1.0"}, "ce-id": {"c-1", "c-1"}, "ce-source": {"/checkout"}, "CE-Source": {"/checkout"},
		"ce-type": {"linepay.command.confirm.v1"},
	}, []byte(confirmData))
	if err != nil {
		t.Error(err)
	}
}

func TestTraceIsTakenFromTheAttributeThenTheHeader(t *testing.T) {
	t.Parallel()
	with := strings.Replace(confirmBody, `"data"`, `"traceparent":"`+trace+`","data"`, 1)
	for _, row := range []struct{ body, header, want string }{
		{with, otherTrace, trace}, {confirmBody, otherTrace, otherTrace}, {confirmBody, "ff-garbage", ""}, {with, "", trace},
	} {
		c, err := schemas.DecodeCommand(confirmSubject, map[string][]string{"traceparent": {row.header}}, []byte(row.body))
		if err != nil || c.TraceParent != row.want {
			t.Errorf("header %q: got %v, %v, want %q", row.header, c, err, row.want)
		}
	}
}

func TestBase64DataIsReadLikePlainData(t *testing.T) {
	t.Parallel()
	body := func(data string) []byte {
		return []byte(strings.Replace(confirmBody, `"data":`+confirmData, data, 1))
	}
	encoded := base64.StdEncoding.EncodeToString([]byte(confirmData))
	c, err := decode(linepay.Confirm, body(`"data_base64":"`+encoded+`"`))
	if diff := cmp.Diff(wantConfirm(), c); err != nil || diff != "" {
		t.Error(err, diff)
	}
	for want, data := range map[string]string{
		"has both data and data_base64":             `"data":null,"data_base64":"` + encoded + `"`,
		"data_base64 is not a string of base64":     `"data_base64":"*"`,
		"data_base64 does not hold JSON":            `"data_base64":"ew=="`,
		"data_base64 is not a string of base64 ":    `"data_base64":12`,
		"data_base64 is not a string of base64  ":   `"data_base64":"e31="`, // bits that no encoder leaves behind
		"/data/transactionId is missing":            `"data_base64":"e30="`,
		"/data must be an object":                   `"data_base64":"W10="`,
		"objects and arrays nest deeper than 32 le": `"data_base64":"` + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("[", 100))) + `"`,
	} {
		if _, err := decode(linepay.Confirm, body(data)); err == nil || !strings.Contains(err.Error(), strings.TrimSpace(want)) {
			t.Errorf("%s: got %v, want %q", data, err, want)
		}
	}
}

func TestMessageThatIsNoCommandIsUnreadable(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		subject, contentType, body, want string
	}{
		"empty":               {body: "", want: "not JSON"},
		"text":                {body: "confirm ORDER-1", want: "not JSON"},
		"cut short":           {body: confirmBody[:len(confirmBody)-1], want: "not JSON"},
		"two values":          {body: confirmBody + "{}", want: "more than one JSON value"},
		"rubbish behind":      {body: confirmBody + "x", want: "invalid character"},
		"array":               {body: "[" + confirmBody + "]", want: "want a JSON object"},
		"null":                {body: "null", want: "want a JSON object"},
		"byte order mark":     {body: "\xef\xbb\xbf" + confirmBody, want: "not JSON"},
		"invalid UTF-8":       {body: strings.Replace(confirmBody, "ORDER-1", "\xff", 1), want: "invalid UTF-8"},
		"lone surrogate":      {body: strings.Replace(confirmBody, "ORDER-1", `\ud800`, 1), want: "invalid surrogate"},
		"duplicate attribute": {body: strings.Replace(confirmBody, "{", `{"id":"c-0",`, 1), want: "duplicate object member name"},
		"comment":             {body: "/* */" + confirmBody, want: "not JSON"},
		"batch":               {contentType: "application/cloudevents-batch+json", body: "[" + confirmBody + "]", want: "only application/cloudevents+json"},
		"avro":                {contentType: "application/cloudevents+avro", body: confirmBody, want: "only application/cloudevents+json"},
		"other operation":     {subject: "linepay.commands.default.refund", body: confirmBody, want: "type is linepay.command.confirm.v1, but the subject says refund"},
		"unknown operation":   {subject: "linepay.commands.default.pay", body: confirmBody, want: `there is no operation "pay"`},
		"unknown channel":     {subject: "linepay.commands.Default.confirm", body: confirmBody, want: "1 to 32 of a-z"},
		"not a command":       {subject: "linepay.events.default.captured.1", body: confirmBody, want: "wrong subject"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if row.subject == "" {
				row.subject = confirmSubject
			}
			c, err := schemas.DecodeCommand(row.subject, map[string][]string{"Content-Type": {row.contentType}}, []byte(row.body))
			var unreadable *schemas.UnreadableError
			if !errors.As(err, &unreadable) || c != nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, %v; want it unreadable: %q", c, err, row.want)
			}
		})
	}
}

func TestUnreadableCommandKeepsItsCause(t *testing.T) {
	t.Parallel()
	_, err := decode(linepay.Confirm, []byte(strings.Replace(confirmBody, "{", `{"id":"c-0",`, 1)))
	if !errors.Is(err, jsontext.ErrDuplicateName) {
		t.Errorf("%v", err)
	}
	name := strings.Repeat("n", 100_000)
	_, err = decode(linepay.Confirm, []byte(`{"`+name+`":1,"`+name+`":2}`))
	if !errors.Is(err, jsontext.ErrDuplicateName) || len(err.Error()) > 500 {
		t.Errorf("a text of %d bytes: %.500v", len(err.Error()), err)
	}
}

func TestDeepNestingIsRefusedEarlyAndCheaply(t *testing.T) { // not parallel: it counts allocations
	const depth = 10_000
	for name, data := range map[string]string{
		"arrays":  strings.Repeat("[", depth) + strings.Repeat("]", depth),
		"objects": strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth),
		"open":    strings.Repeat("[", depth),
	} {
		for _, body := range []string{
			strings.Replace(confirmBody, confirmData, data, 1),
			strings.Replace(confirmBody, `"data"`, `"extension":`+data+`,"data"`, 1),
		} {
			_, err := decode(linepay.Confirm, []byte(body))
			if err == nil || !strings.Contains(err.Error(), "nest deeper than 32 levels") {
				t.Errorf("%s: %v", name, err)
			}
			if allocations := testing.AllocsPerRun(3, func() { _, _ = decode(linepay.Confirm, []byte(body)) }); allocations > 500 {
				t.Errorf("%s: %v allocations", name, allocations)
			}
		}
	}
}

func TestCommandsOfTheLargestSizeAreReadOrRefused(t *testing.T) {
	t.Parallel()
	fill := func(unit string) string { return strings.Repeat(unit, (schemas.MaxCommandBytes-1000)/len(unit)) }
	if _, err := decode(linepay.Confirm, []byte(strings.Replace(confirmBody, `"data"`, `"extension":"`+fill("x")+`","data"`, 1))); err != nil {
		t.Error(err)
	}
	for want, data := range map[string]string{
		"/data/orderId must be":           strings.Replace(confirmData, "ORDER-1", fill("x"), 1),
		"/data/amount must be":            strings.Replace(confirmData, `"1000"`, fill("9"), 1),
		"/data/transactionId must be":     strings.Replace(confirmData, `"2018082512345678910"`, fill("9"), 1),
		"/data must be an object":         "[" + fill("0,") + "0]",
		"xxx… is unknown here":            strings.Replace(confirmData, "{", `{"`+fill("x")+`":1,`, 1),
		"/data/orderId must be a string ": strings.Replace(confirmData, `"ORDER-1"`, "["+fill("{},")+"{}]", 1),
	} {
		_, err := decode(linepay.Confirm, []byte(strings.Replace(confirmBody, confirmData, data, 1)))
		if err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 2000 {
			t.Errorf("got %.300v, want %q", err, want)
		}
	}
}

func TestInvalidCommandStillNamesItsOperation(t *testing.T) {
	t.Parallel()
	body := `{"specversion":"1.0","id":"r-1","source":"/returns","type":"linepay.command.refund.v1","expirytime":"soon","data":{
	  "transactionId":2018082512345678910,"orderId":"ORDER-1","refundAmount":"1,000","refundId":"R-1","refundReason":"broken"}}`
	c, err := decode(linepay.Refund, []byte(body))
	var invalid *schemas.InvalidError
	if !errors.As(err, &invalid) {
		t.Fatal(err)
	}
	paths := make([]string, 0, len(invalid.Errors))
	for _, f := range invalid.Errors {
		paths = append(paths, f.Path)
	}
	if diff := cmp.Diff([]string{"/expirytime", "/data/refundAmount", "/data/refundReason"}, paths); diff != "" {
		t.Error(diff)
	}
	want := &schemas.Command{
		ID: "r-1", Source: "/returns", Type: "linepay.command.refund.v1", Channel: "default", Operation: linepay.Refund,
		Data: &schemas.RefundData{TransactionID: 2018082512345678910, OrderID: "ORDER-1", RefundID: "R-1"},
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
}

func TestEveryOperationHasDataEvenWhereNoneCanBeRead(t *testing.T) {
	t.Parallel()
	for _, op := range linepay.Operations() {
		for _, data := range []string{"null", "7", "{}", `{"x":1}`} {
			body := fmt.Sprintf(`{"specversion":"1.0","id":"1","source":"/s","type":%q,"data":%s}`, schemas.CommandType(op), data)
			c, err := decode(op, []byte(body))
			var invalid *schemas.InvalidError
			if !errors.As(err, &invalid) || c == nil || c.Data == nil || c.Data.Operation() != op || c.Data.Order() != "" || c.Data.Transaction() != 0 {
				t.Errorf("%s %s: %+v, %v", op, data, c, err)
			}
		}
	}
}

func TestErrorsAreManyButNotEndless(t *testing.T) {
	t.Parallel()
	members := make([]string, 0, 1000)
	for i := range 1000 {
		members = append(members, fmt.Sprintf(`"m%d":1`, i))
	}
	_, err := decode(linepay.Confirm, []byte(strings.Replace(confirmBody, confirmData, "{"+strings.Join(members, ",")+"}", 1)))
	var invalid *schemas.InvalidError
	if !errors.As(err, &invalid) || len(invalid.Errors) != 20 {
		t.Fatalf("%v", err)
	}
	if diff := cmp.Diff(schemas.FieldError{Path: "/data/transactionId", Message: "is missing"}, invalid.Errors[0]); diff != "" {
		t.Error(diff)
	}
}

func TestErrorsNeverShowAKey(t *testing.T) {
	t.Parallel()
	for _, op := range []linepay.Operation{linepay.PreapprovedCheck, linepay.PreapprovedPay, linepay.PreapprovedExpire} {
		body := fmt.Sprintf(`{"specversion":"1.0","id":"1","source":"/s","type":%q,"data":{"regKey":"RK/TOP/SECRET"}}`, schemas.CommandType(op))
		_, err := decode(op, []byte(body))
		if err == nil || strings.Contains(err.Error(), "SECRET") || !strings.Contains(err.Error(), "/data/regKey must be a string that matches") {
			t.Errorf("%s: %v", op, err)
		}
	}
}

func TestOnlyTheSingleIDOfDetailsLabelsItsEvent(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		data        schemas.DetailsData
		order       string
		transaction linepay.TransactionID
	}{
		{schemas.DetailsData{OrderIDs: []string{"A"}}, "A", 0},
		{schemas.DetailsData{TransactionIDs: []linepay.TransactionID{7}}, "", 7},
		{schemas.DetailsData{OrderIDs: []string{"A", "B"}}, "", 0},
		{schemas.DetailsData{OrderIDs: []string{"A"}, TransactionIDs: []linepay.TransactionID{7}}, "", 0},
	} {
		if row.data.Order() != row.order || row.data.Transaction() != row.transaction {
			t.Errorf("%+v: %q, %d", row.data, row.data.Order(), row.data.Transaction())
		}
	}
}

func TestRefundOfNothingIsNotEncodedAsRefundOfEverything(t *testing.T) {
	t.Parallel()
	c := &schemas.Command{
		ID: "1", Source: "/s", Type: schemas.CommandType(linepay.Refund), Channel: "default", Operation: linepay.Refund,
		Data: &schemas.RefundData{TransactionID: 7, OrderID: "A", RefundAmount: &linepay.Amount{}},
	}
	body, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := decode(linepay.Refund, body); err == nil || !strings.Contains(err.Error(), "/data/refundAmount must be more than 0") {
		t.Errorf("%v\n%s", err, body)
	}
}

func TestNullIsCalledNullWhereItIsRefused(t *testing.T) {
	t.Parallel()
	_, err := decode(linepay.Confirm, []byte(strings.Replace(confirmBody, `"ORDER-1"`, "null", 1)))
	var invalid *schemas.InvalidError
	if !errors.As(err, &invalid) || !slices.Contains(invalid.Errors, schemas.FieldError{Path: "/data/orderId", Message: "must not be null"}) {
		t.Errorf("%v", err)
	}
}

func TestUnknownMemberNamesTheKnownOnes(t *testing.T) {
	t.Parallel()
	_, err := decode(linepay.Void, []byte(`{"specversion":"1.0","id":"1","source":"/s","type":"linepay.command.void.v1","data":{"orderID":"A"}}`))
	var invalid *schemas.InvalidError
	if !errors.As(err, &invalid) {
		t.Fatal(err)
	}
	want := schemas.FieldError{Path: "/data/orderID", Message: "is unknown here; known are transactionId, orderId"}
	if !slices.Contains(invalid.Errors, want) {
		t.Errorf("got %v, want %v among them", invalid.Errors, want)
	}
}

func BenchmarkDecodeConfirm(b *testing.B) {
	b.ReportAllocs()
	body := []byte(confirmBody)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := schemas.DecodeCommand(confirmSubject, nil, body); err != nil {
			b.Fatal(err)
		}
	}
}
