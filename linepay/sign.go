package linepay

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
)

// Sign gives the value of the X-LINE-Authorization header: the padded standard base64 of
// HMAC-SHA256(secret, secret + apiPath + payload + nonce), 44 characters long.
//
// apiPath is the path exactly as sent, from /v3 or /v4 on, without host and query. payload is the exact body of a POST, or the exact raw query
// of a GET without its question mark (empty when there is none). One byte of difference between what is signed and what is sent, and LINE Pay
// answers 1106. (developers-pay.line.me/online/pre-requisites)
func Sign(secret Secret, apiPath, payload, nonce string) string {
	mac := hmac.New(sha256.New, []byte(secret.Reveal()))
	// A hash never fails to be written to.
	_, _ = mac.Write([]byte(secret.Reveal() + apiPath + payload + nonce))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
