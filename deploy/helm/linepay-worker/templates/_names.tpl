{{- define "linepay-worker.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "linepay-worker.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "linepay-worker.labels" -}}
{{ include "linepay-worker.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "linepay-worker.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "linepay-worker.name" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- /* LINEPAY_CHANNELS: the channels, with a file in the place of each secret. */ -}}
{{- define "linepay-worker.channels" -}}
channels:
{{- range .Values.channels }}
{{ list (merge (dict "secretFile" (printf "secrets/%s" .name)) (omit . "secret")) | toYaml | indent 2 }}
{{- end }}
{{- end -}}

{{- /* Ports of a NetworkPolicy: those of .ports, and those that are written in .urls. */ -}}
{{- define "linepay-worker.ports" -}}
{{- $ports := list -}}
{{- range .ports }}{{ $ports = append $ports (int .) }}{{ end -}}
{{- range regexFindAll ":[0-9]+(,|/|[?]|$)" .urls -1 }}{{ $ports = append $ports (. | trimAll ":,/?" | int) }}{{ end -}}
{{- range uniq $ports }}
- {port: {{ . }}, protocol: TCP}
{{- end }}
{{- end -}}
