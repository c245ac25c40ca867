{{- /* The worker's variables. */ -}}
{{- define "linepay-worker.env" -}}
- {name: LINEPAY_CHANNELS, value: /etc/linepay/channels.yaml}
- {name: RELOAD_EVERY, value: {{ .Values.reloadEvery | quote }}}
{{- with .Values.nats.urlSecret }}
- name: NATS_URL
  valueFrom:
    secretKeyRef: {name: {{ .name | quote }}, key: {{ .key | quote }}}
{{- else }}
- {name: NATS_URL, value: {{ .Values.nats.url | quote }}}
{{- end }}
{{- with .Values.nats.inboxPrefix }}
- {name: NATS_INBOX_PREFIX, value: {{ . | quote }}}
{{- end }}
{{- if (.Values.nats.credsSecret).name }}
- {name: NATS_CREDS, value: /etc/linepay/nats/creds}
{{- end }}
{{- if (.Values.nats.nkeySecret).name }}
- {name: NATS_NKEY, value: /etc/linepay/nats/nkey}
{{- end }}
{{- range $server := list "nats" "redis" }}
{{- with (get $.Values $server).tls }}
{{- if .secretName }}
- {name: {{ upper $server }}_CA, value: /etc/linepay/{{ $server }}/ca.crt}
{{- if .clientCertificate }}
- {name: {{ upper $server }}_CERT, value: /etc/linepay/{{ $server }}/tls.crt}
- {name: {{ upper $server }}_KEY, value: /etc/linepay/{{ $server }}/tls.key}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.redis.urlSecret }}
- name: REDIS_URL
  valueFrom:
    secretKeyRef: {name: {{ .name | quote }}, key: {{ .key | quote }}}
{{- else }}
- {name: REDIS_URL, value: {{ .Values.redis.url | quote }}}
{{- end }}
# Garbage is collected sooner before memory runs out: a worker that is killed leaves its calls in doubt.
- name: GOMEMLIMIT
  valueFrom:
    resourceFieldRef: {containerName: linepay-worker, resource: limits.memory}
- {name: SHUTDOWN_GRACE, value: "{{ .Values.shutdownGraceSeconds }}s"}
- {name: ADMIN_ADDR, value: "0.0.0.0:8080"}
{{- range $name, $value := .Values.settings }}
- {name: {{ $name }}, value: {{ $value | toString | quote }}}
{{- end }}
{{- with .Values.traces.endpoint }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- if (.Values.traces.headersSecret).name }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom:
    secretKeyRef: {name: {{ .Values.traces.headersSecret.name | quote }}, key: {{ .Values.traces.headersSecret.key | quote }}}
{{- end }}
{{- range $name, $value := .Values.traces.settings }}
- {name: {{ $name }}, value: {{ $value | toString | quote }}}
{{- end }}
{{- end -}}

{{- /* What is in /etc/linepay. */ -}}
{{- define "linepay-worker.files" -}}
- configMap:
    name: {{ include "linepay-worker.name" . }}
    items: [{key: channels.yaml, path: channels.yaml}]
{{- range .Values.channels }}
- secret:
    name: {{ .secret.name | quote }}
    items: [{key: {{ .secret.key | quote }}, path: {{ printf "secrets/%s" .name | quote }}}]
{{- end }}
{{- with .Values.nats.credsSecret }}
- secret:
    name: {{ .name | quote }}
    items: [{key: {{ .key | quote }}, path: nats/creds}]
{{- end }}
{{- with .Values.nats.nkeySecret }}
- secret:
    name: {{ .name | quote }}
    items: [{key: {{ .key | quote }}, path: nats/nkey}]
{{- end }}
{{- range $server := list "nats" "redis" }}
{{- with (get $.Values $server).tls }}
{{- if .secretName }}
- secret:
    name: {{ .secretName | quote }}
    items:
      - {key: ca.crt, path: {{ $server }}/ca.crt}
      {{- if .clientCertificate }}
      - {key: tls.crt, path: {{ $server }}/tls.crt}
      - {key: tls.key, path: {{ $server }}/tls.key}
      {{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
