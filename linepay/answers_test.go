package linepay

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestBothShapesOfErrorAreRead(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ body, code, message string }{
		{`{"returnCode":"1104","returnMessage":"Merchant not found."}`, "1104", "Merchant not found."},
		{`{"returnCode":"1104","returnMessage":"-","info":null}`, "1104", "-"},
		{`{"returnCode":1104}`, "1104", ""},
		{`{"resultCode":1104,"statusMessage":"Merchant not found."}`, "1104", "Merchant not found."},
		{`{"resultCode":"1104","statusMessage":null,"errorDetailMap":{"a":[1]}}`, "1104", ""},
		{`{"returnCode":"1104","resultCode":1104,"returnMessage":"a","statusMessage":"b"}`, "1104", "a"},
	} {
		eachCall(t, func(t *testing.T, _ Operation, call func(context.Context, *Client) (any, error)) {
			server := newLINEPay(t, row.body)
			_, err := call(t.Context(), client(t, server.URL, nil))
			e := failure(t, err)
			if e.Verdict != ChannelFault || e.Code != row.code || e.Message != row.message || e.HTTPStatus != 200 || !e.Sent || e.Err != nil {
				t.Errorf("%s: %+v", row.body, *e)
			}
		})
	}
}

func TestAnswersThatSettleNothingAreUnknown(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, body, reason string
		status             int
	}{
		{"server error", `{"returnCode":"0000","returnMessage":"OK"}`, "HTTP status 500", 500},
		{"gateway page", `<html>Bad Gateway</html>`, "HTTP status 502", 502},
		{"refusal with a wrong status", `{"returnCode":"1178","returnMessage":"-"}`, "HTTP status 400", 400},
		{"created", `{"returnCode":"0000","returnMessage":"OK"}`, "HTTP status 201", 201},
		{"redirect", ``, "HTTP status 307", 307},
		{"page with status 200", `<html><body>maintenance</body></html>`, "not whole and valid JSON", 200},
		{"nothing", ``, "not whole and valid JSON", 200},
		{"null", `null`, "no returnCode", 200},
		{"array", `["0000"]`, "cannot be read", 200},
		{"text", `"0000"`, "cannot be read", 200},
		{"cut", `{"returnCode":"0000","returnMes`, "not whole and valid JSON", 200},
		{"two documents", `{"returnCode":"0000"}{"returnCode":"0000"}`, "not whole and valid JSON", 200},
		{"empty object", `{}`, "no returnCode", 200},
		{"other case", `{"ReturnCode":"0000"}`, "no returnCode", 200},
		{"null code", `{"returnCode":null}`, "no returnCode", 200},
		{"code that is an object", `{"returnCode":{"value":"0000"}}`, "/returnCode", 200},
		{"code given twice", `{"returnCode":"0000","returnCode":"1104"}`, "JSON", 200},
		{"two codes", `{"returnCode":"0000","resultCode":"1104"}`, "differ", 200},
		{"success as a number", `{"returnCode":0}`, `code 0 `, 200},
		{"success in the shape of errors", `{"resultCode":"0000","statusMessage":"OK"}`, "code 0000", 200},
		{"code never seen", `{"returnCode":"4711","returnMessage":"-"}`, "code 4711", 200},
		{"internal error", `{"returnCode":"9000","returnMessage":"-"}`, "code 9000", 200},
		{"endless", `{"returnCode":"0000","returnMessage":"` + strings.Repeat("x", maxBody) + `"}`, "longer than 1048576 bytes", 200},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			eachCall(t, func(t *testing.T, op Operation, call func(context.Context, *Client) (any, error)) {
				server := newLINEPayWith(t, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Location", "/v3/elsewhere")
					w.WriteHeader(row.status)
					_, _ = io.WriteString(w, row.body)
				})
				_, err := call(t.Context(), client(t, server.URL, nil))
				e := failure(t, err)
				if e.Verdict != Unknown || !e.Sent || e.Operation != op || e.HTTPStatus != row.status || !strings.Contains(e.Error(), row.reason) {
					t.Errorf("%s, sent %v, status %d: %v; want unknown because of %q", e.Verdict, e.Sent, e.HTTPStatus, e, row.reason)
				}
				if row.status != 200 && e.Code != "" {
					t.Errorf("code %s was believed in spite of HTTP status %d", e.Code, row.status)
				}
				if got := len(server.requests()); got != 1 {
					t.Errorf("%d requests arrived, want 1", got)
				}
			})
		})
	}
}

func TestSuccessThatCannotBeUsedIsUnknown(t *testing.T) {
	t.Parallel()
	const other = `{"transactionId":2026112300000000999,"payInfo":[]}`
	for _, row := range []struct {
		op           Operation
		info, reason string
	}{
		{Request, `{"paymentUrl":{"web":"https://pay.example"}}`, "no transactionId"},
		{Confirm, other, "another transaction, 2026112300000000999"},
		{Confirm, `{"transactionId":2026112300000000110.5}`, "/transactionId"},
		{Confirm, `{"payInfo":[{"method":"BALANCE","amount":"much"}]}`, "/payInfo/0/amount"},
		{Capture, other, "another transaction, 2026112300000000999"},
		{Refund, `{"refundTransactionDate":"2026-11-23T09:15:01Z"}`, "no refundTransactionId"},
		{Refund, `{"refundTransactionId":null}`, "no refundTransactionId"},
		{Refund, `{"refundTransactionId":99999999999999999999}`, "/refundTransactionId"},
		{PreapprovedPay, `{"transactionDate":"2026-11-23T09:00:31Z"}`, "no transactionId"},
		{PreapprovedPay, `{"transactionId":1,"orderId":"order-2"}`, "another order"},
		{Details, `{"transactionId":1}`, "cannot be read"},
		{Details, `[{"transactionId":1,"refundList":[{"refundTransactionId":"x"}]}]`, "/0/refundList/0/refundTransactionId"},
	} {
		testUnusable(t, row.op, `{"returnCode":"0000","returnMessage":"OK","info":`+row.info+`}`, row.reason)
	}
	for _, op := range []Operation{Request, Confirm, Capture, Refund, PreapprovedPay, Details} {
		for _, info := range []string{``, `,"info":null`, `,"info":"none"`} {
			testUnusable(t, op, `{"returnCode":"0000","returnMessage":"OK"`+info+`}`, "no info")
		}
	}
}

func testUnusable(t *testing.T, op Operation, body, reason string) {
	t.Helper()
	server := newLINEPay(t, body)
	_, err := tenCalls[op](t.Context(), client(t, server.URL, nil))
	e := failure(t, err)
	if e.Verdict != Unknown || !e.Sent || e.Code != "0000" || !strings.Contains(e.Error(), reason) {
		t.Errorf("%s with %s: %s, sent %v: %v; want unknown because of %q", op, body, e.Verdict, e.Sent, e, reason)
	}
}

func TestVoidCheckAndExpireNeedNoInfo(t *testing.T) {
	t.Parallel()
	for _, op := range []Operation{Check, Void, PreapprovedCheck, PreapprovedExpire} {
		for _, info := range []string{``, `,"info":null`, `,"info":{}`, `,"info":[]`, `,"info":"-"`} {
			server := newLINEPay(t, `{"returnCode":"0000"`+info+`}`)
			if _, err := tenCalls[op](t.Context(), client(t, server.URL, nil)); err != nil {
				t.Errorf("%s with %q: %v", op, info, err)
			}
		}
	}
}

func TestAnswersAreReadTolerantly(t *testing.T) {
	t.Parallel()
	server := newLINEPay(t, "{\"returnCode\":\"0000\",\"returnMessage\":\"OK\",\"new\":{\"a\":[1,{}]},\"info\":[{\"transactionId\":\"2026112300000000110\","+
		"\"originalTransactionId\":null,\"payStatus\":\"SOMETHING_NEW\",\"orderId\":1001,\"paymentProvider\":null,\"productName\":\"pen \xff\","+
		"\"payInfo\":[{\"method\":\"BALANCE\",\"amount\":\"12.50\",\"new\":true}],\"refundList\":null,"+
		"\"packages\":[{\"id\":1,\"amount\":1.25e1,\"userFeeAmount\":null,\"products\":[{\"name\":null,\"quantity\":1,\"price\":12.5}]}]}]}")
	info, err := client(t, server.URL, nil).Details(t.Context(), DetailsQuery{OrderIDs: []string{"1001"}})
	if err != nil {
		t.Fatal(err)
	}
	amount := MustAmount("12.5")
	want := &DetailsInfo{Answer{"0000", "OK"}, []Payment{{
		TransactionID: idForTests, PayStatus: "SOMETHING_NEW", OrderID: "1001", ProductName: "pen \uFFFD",
		PayInfo:  []PayInfo{{Method: "BALANCE", Amount: amount}},
		Packages: []PaymentPackage{{ID: "1", Amount: amount, Products: []Product{{Quantity: MustAmount("1"), Price: amount}}}},
	}}}
	if diff := cmp.Diff(want, info); diff != "" {
		t.Errorf("details (-want +got):\n%s", diff)
	}
}

func TestInfosGoIntoEventsWithIDsAndAmountsAsText(t *testing.T) {
	t.Parallel()
	server := newLINEPay(t, `{"returnCode":"0000","returnMessage":"OK","info":[{"transactionId":9223372036854775807,"orderId":"o","payStatus":"CAPTURE",
		"payInfo":[{"method":"POINT","amount":9007199254740993}],"refundList":[{"refundTransactionId":9007199254740993,"refundAmount":-1.50}]}]}`)
	info, err := client(t, server.URL, nil).Details(t.Context(), DetailsQuery{OrderIDs: []string{"o"}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(info.Payments)
	want := `[{"transactionId":"9223372036854775807","payStatus":"CAPTURE","orderId":"o","payInfo":[{"method":"POINT","amount":"9007199254740993"}],` +
		`"refundList":[{"refundTransactionId":"9007199254740993","refundAmount":"-1.5"}]}]`
	if err != nil || string(got) != want {
		t.Errorf("on the bus:\n%s (%v), want\n%s", got, err, want)
	}
}

func TestIDsAndAmountsCrossTheWireExactly(t *testing.T) {
	t.Parallel()
	var answer string
	server := newLINEPayWith(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) })
	c := client(t, server.URL, nil)
	rapid.Check(t, func(t *rapid.T) {
		id := TransactionID(rapid.Int64Range(1, 1<<63-1).Draw(t, "id"))
		amount := MustAmount(rapid.StringMatching(`(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?`).Draw(t, "amount"))
		answer = fmt.Sprintf(`{"returnCode":"0000","info":{"transactionId":%d,"payInfo":[{"amount":%s}]}}`, int64(id), amount)
		info, err := c.Capture(context.Background(), id, amount, "TWD")
		if err != nil {
			t.Fatal(err)
		}
		last := server.last()
		if last.Path != "/v3/payments/authorizations/"+strconv.FormatInt(int64(id), 10)+"/capture" ||
			last.Body != fmt.Sprintf(`{"amount":%s,"currency":"TWD"}`, amount) {
			t.Fatalf("sent %s %s", last.Path, last.Body)
		}
		if info.TransactionID != id || !info.PayInfo[0].Amount.Equal(amount) {
			t.Fatalf("read %+v, want %d and %s", info, id, amount)
		}
	})
}

func TestPaymentRequestSurvivesTheBus(t *testing.T) {
	t.Parallel()
	amount, day := MustAmount("100.50"), 31
	payment := PaymentRequest{
		Amount: amount, Currency: "USD", OrderID: "o",
		Packages: []RequestPackage{{
			ID: "1", Amount: amount, UserFee: amount, Name: "n",
			Products: []Product{{ID: "p", Name: "n", ImageURL: "https://i.example", Quantity: amount, Price: amount, OriginalPrice: amount}},
		}},
		RedirectURLs: RedirectURLs{AppPackageName: "a", ConfirmURL: "https://c.example", ConfirmURLType: "CLIENT", CancelURL: "https://x.example"},
		Options: &RequestOptions{
			Payment:       &PaymentOptions{Capture: new(bool), PayType: "PREAPPROVED"},
			Display:       &DisplayOptions{Locale: "zh_TW", CheckConfirmURLBrowser: new(bool)},
			Extra:         &ExtraOptions{BranchName: "b", BranchID: "1", PromotionRestriction: &PromotionRestriction{UseLimit: &amount, RewardLimit: amount}},
			Events:        []PromotionEvent{{Code: "e", TotalAmount: &amount}, {Code: "f", ProductQuantity: &amount}},
			FamilyService: &FamilyService{AddFriends: []AddFriends{{Type: "lineAt", IDList: []string{"@a"}}}},
			RegPayRequest: &RegPayRequest{
				RegPayPeriodType: "RECURRING", RecurringPeriod: "YEAR", RecurringDay: &day, RecurringDayOfWeek: "SUN", RecurringMonth: &day,
				ProductPrice: &amount, PerTransactionLimit: &amount,
			},
			Shipping: &ShippingOptions{
				Type: "SHIPPING", FeeAmount: &amount, FeeInquiryURL: "https://f.example", FeeInquiryType: "FIXED",
				Address: &ShippingAddress{
					Country: "TW", PostalCode: "100", State: "s", City: "c", Detail: "d", Optional: "o",
					Recipient: &Recipient{"f", "l", "fo", "lo", "e@x.example", "1"},
				},
			},
		},
	}
	onBus, err := json.Marshal(payment)
	if err != nil {
		t.Fatal(err)
	}
	onWire, err := body(payment)
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.ReplaceAll(string(onBus), `"100.5"`, `100.5`); onWire != want || !strings.Contains(string(onBus), `"amount":"100.5"`) {
		t.Errorf("on the bus\n%s\non the wire\n%s", onBus, onWire)
	}
	for _, text := range []string{string(onBus), onWire} {
		var back PaymentRequest
		if err := json.Unmarshal([]byte(text), &back, json.RejectUnknownMembers(true)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(payment, back); diff != "" {
			t.Errorf("round trip (-want +got):\n%s", diff)
		}
	}
}

func TestRecordedRequestsFitThePaymentRequest(t *testing.T) {
	t.Parallel()
	for _, path := range recordedFiles(t, "requests") {
		if !strings.HasPrefix(filepath.Base(path), "request") {
			continue
		}
		var payment PaymentRequest
		if err := json.Unmarshal(readFile(t, path), &payment, json.RejectUnknownMembers(true)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestRecordedAnswersAreRead(t *testing.T) {
	t.Parallel()
	operations := map[string]Operation{
		"capture": Capture, "check": Check, "confirm": Confirm, "details": Details, "preapproved-check": PreapprovedCheck,
		"preapproved-expire": PreapprovedExpire, "preapproved-payment": PreapprovedPay, "refund": Refund, "request": Request, "void": Void,
	}
	for _, path := range recordedFiles(t, "responses") {
		name, _, _ := strings.Cut(filepath.Base(path), ".")
		r, err := readReply(readFile(t, path))
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if name == "error" {
			if Classify(Request, r.Code) != ChannelFault || !r.otherShape {
				t.Errorf("%s: %+v", path, r)
			}
			continue
		}
		op, ok := operations[name]
		if !ok || Classify(op, r.Code) != Done {
			t.Errorf("%s: operation %q, code %s", path, op, r.Code)
		}
		infos := map[Operation]any{
			Request: new(RequestInfo), Confirm: new(ConfirmInfo), Capture: new(CaptureInfo), Refund: new(RefundInfo), Details: new([]Payment),
			PreapprovedPay: new(PreapprovedInfo),
		}
		into, ok := infos[op]
		if !ok {
			continue
		}
		if err := readInfo(r, into); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		// Every member of a recorded answer has its field.
		if err := json.Unmarshal(r.info, into, json.RejectUnknownMembers(true)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func recordedFiles(t *testing.T, folder string) []string {
	t.Helper()
	path := recorded(t, folder)
	if path == "" {
		return nil
	}
	entries, err := os.ReadDir(path)
	if err != nil || len(entries) == 0 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	var files []string
	for _, entry := range entries {
		files = append(files, filepath.Join(path, entry.Name()))
	}
	return files
}

func FuzzAnswers(f *testing.F) {
	for _, body := range successes {
		f.Add(body)
	}
	f.Add(`{"resultCode":1104,"statusMessage":"Merchant not found."}`)
	f.Add(`{"returnCode":"0000","info":[{"transactionId":-1,"payInfo":[{"amount":1e99}]}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := readReply([]byte(text))
		if err != nil {
			return
		}
		if r.Code == "" || len(r.Message) > maxMessage+len("…") {
			t.Fatalf("read %+v", r)
		}
		var payments []Payment
		for _, into := range []any{new(RequestInfo), new(ConfirmInfo), new(CaptureInfo), new(RefundInfo), new(PreapprovedInfo), &payments} {
			if readInfo(r, into) != nil {
				continue
			}
			// What was read can be written into an event, and read from it again.
			written, err := json.Marshal(into)
			if err != nil {
				t.Fatalf("%T: %v", into, err)
			}
			if err := json.Unmarshal(written, into); err != nil {
				t.Fatalf("%s: %v", written, err)
			}
		}
		for _, payment := range payments {
			if payment.TransactionID < 0 {
				t.Fatalf("id %d", payment.TransactionID)
			}
		}
	})
}
