package simulator

import (
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"linepay-worker/linepay"
)

// answer is LINE Pay's envelope: HTTP status 200 whatever happened, the outcome in returnCode.
type answer struct {
	Code    string            `json:"returnCode"`
	Message string            `json:"returnMessage"`
	Detail  map[string]string `json:"errorDetailMap,omitzero"`
	Info    any               `json:"info,omitzero"`
}

// numberID and numberAmount are written as bare JSON numbers, exactly, as LINE Pay writes them.
type (
	numberID     int64
	numberAmount linepay.Amount
)

// MarshalJSON writes the plain decimal literal.
func (a numberAmount) MarshalJSON() ([]byte, error) { return linepay.Amount(a).Literal(), nil }

func done(message string, info any) *answer {
	return &answer{Code: "0000", Message: message, Info: info}
}

// refuse answers a code with LINE Pay's text for it, and a detail behind the text where LINE Pay gives one.
func refuse(code string, detail ...string) *answer {
	message := textOf(code)
	for _, d := range detail {
		message += " " + d
	}
	return &answer{Code: code, Message: message}
}

// textOf is the English text that LINE Pay's servers send with a code, as far as it is known; "-" is LINE Pay's own placeholder for none.
func textOf(code string) string {
	if text, ok := texts[code]; ok {
		return text
	}
	return "-"
}

var texts = map[string]string{
	"0000": "OK",
	"0110": "The customer has completed LINE Pay authentication.",
	"0121": "The customer canceled the payment, or the waiting time expired.",
	"0122": "Payment failed.",
	"0123": "Payment completed.",
	"1104": "Merchant not found.",
	"1105": "The merchant cannot use LINE Pay.",
	"1106": "Header information error.",
	"1124": "Error in Amount info.",
	"1145": "Payment in progress.",
	"1150": "Transaction record not found.",
	"1152": "Duplicate transaction.",
	"1153": "The payment request amount is different from the capture amount.",
	"1155": "Invalid transaction ID.",
	"1159": "Payment request information not found.",
	"1163": "The refund period has expired.",
	"1164": "Refund limit exceeded.",
	"1165": "The transaction has already been refunded.",
	"1169": "Payment method and password must be certificated by LINE Pay.",
	"1172": "Existing same orderId.",
	"1177": "Exceeded the maximum number of transactions (100).",
	"1178": "The currency is not supported by the merchant.",
	"1179": "The transaction cannot be processed in its present state.",
	"1180": "The payment time has expired.",
	"1183": "The amount is below the minimum payment amount.",
	"1184": "The amount is above the maximum payment amount.",
	"1190": "The regKey does not exist.",
	"1193": "The regKey expired.",
	"1194": "The merchant cannot use pre-approved payment.",
	"1197": "A payment with this regKey is being processed.",
	"1198": "Duplicated the request calling API.",
	"1199": "Internal request error.",
	"1900": "Temporary error. Please try again later.",
	"1902": "Temporary error. Please try again later.",
	"1999": "The content of the repeated request differs from the first.",
	"2101": "Parameter error.",
	"2102": "JSON data format error.",
	"2103": "Parameter is not allowed",
	"2104": "Invalid request.",
	"9000": "Internal error.",
}

// body is the answer's JSON, in the older error form where the rules ask for it. The states of a payment request (0110 to 0123) are
// answers, not errors.
func (a *answer) body(rules Rules) []byte {
	var shape any = a
	if rules.LegacyErrorBody && a.Code[0] != '0' {
		code, _ := strconv.Atoi(a.Code) // four digits: checked by Rules and Fault
		shape = struct {
			Code    int    `json:"resultCode"`
			Message string `json:"statusMessage"`
		}{code, a.Message}
	}
	b, err := json.Marshal(shape)
	if err != nil {
		panic("simulator: an answer cannot be encoded: " + err.Error()) // a programming error: answers hold plain data only
	}
	return b
}

func writeBody(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may have gone; the ledger keeps what was done
}

// stamp is the form of LINE Pay's dates: ISO 8601 in UTC, to the second.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
