package consumertest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// CertificateFiles are PEM files for TLS on loopback.
type CertificateFiles struct {
	CA        string // of an authority that nobody else knows
	Cert, Key string // for servers and clients on 127.0.0.1, signed by it
}

// Certificates makes an authority and a certificate of it, valid for an hour.
func Certificates(t testing.TB) CertificateFiles {
	t.Helper()
	dir := t.TempDir()
	files := CertificateFiles{filepath.Join(dir, "ca.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	now := time.Now()
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test authority"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	signing, certified := newKey(t), newKey(t)
	own := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "127.0.0.1"}, NotBefore: authority.NotBefore, NotAfter: authority.NotAfter,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	writePEM(t, files.CA, "CERTIFICATE", sign(t, authority, authority, signing, signing))
	writePEM(t, files.Cert, "CERTIFICATE", sign(t, own, authority, certified, signing))
	key, err := x509.MarshalPKCS8PrivateKey(certified)
	if err != nil {
		t.Fatalf("consumertest: %v", err)
	}
	writePEM(t, files.Key, "PRIVATE KEY", key)
	return files
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("consumertest: %v", err)
	}
	return key
}

func sign(t testing.TB, certificate, by *x509.Certificate, of, with *ecdsa.PrivateKey) []byte {
	t.Helper()
	signed, err := x509.CreateCertificate(rand.Reader, certificate, by, of.Public(), with)
	if err != nil {
		t.Fatalf("consumertest: %v", err)
	}
	return signed
}

func writePEM(t testing.TB, path, kind string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600); err != nil {
		t.Fatalf("consumertest: %v", err)
	}
}
