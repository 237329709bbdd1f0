{{/*
tracegate.toml. Helm's own `toToml` writes large numbers as fractions (1.073741824e+10), which are no whole numbers to
whoever reads them, so values are written here. A JSON string is a TOML string, but for the character 127, which the schema
keeps out.
*/}}
{{- define "tracegate.toml.value" -}}
{{- if kindIs "string" . }}{{ toJson . }}
{{- else if kindIs "bool" . }}{{ . }}
{{- else if kindIs "slice" . -}}
[{{ range $index, $item := . }}{{ if $index }}, {{ end }}{{ include "tracegate.toml.value" $item }}{{ end }}]
{{- else if kindIs "map" . -}}
{ {{- $first := true }}{{ range $key, $item := . }}{{ if not $first }},{{ end }}{{ $first = false }} {{ toJson $key }} = {{ include "tracegate.toml.value" $item }}{{ end }} }
{{- else }}{{ int64 . }}
{{- end }}
{{- end }}

{{- define "tracegate.toml.table" -}}
{{- range $key, $value := . }}
{{- if not (kindIs "invalid" $value) }}
{{ $key }} = {{ include "tracegate.toml.value" $value }}
{{- end }}
{{- end }}
{{- end }}

{{/* Where a secret is mounted as a file. */}}
{{- define "tracegate.secretFile" -}}
/etc/tracegate/secrets/{{ . }}
{{- end }}

{{- define "tracegate.toml" -}}
{{- $secrets := .Values.secrets }}
{{- range $section := list "server" "mlflow" "identity" "database" "policy" "audit" "limits" "telemetry" "lake" }}
{{- $settings := omit (get $.Values.config $section) "issuers" "federation" "certificates" }}
{{- if eq $section "server" }}
{{- if $secrets.tls.name }}
{{- $_ := set $settings "tls_certificate" "/etc/tracegate/tls/tls.crt" }}
{{- $_ := set $settings "tls_key" "/etc/tracegate/tls/tls.key" }}
{{- end }}
{{- if $secrets.tlsClientCa.name }}
{{- $_ := set $settings "tls_client_ca" "/etc/tracegate/tls/client-ca.crt" }}
{{- end }}
{{- else if eq $section "mlflow" }}
{{- if $secrets.mlflowPassword.name }}
{{- $_ := set $settings "password_file" (include "tracegate.secretFile" "mlflow-password") }}
{{- end }}
{{- if $secrets.mlflowToken.name }}
{{- $_ := set $settings "token_file" (include "tracegate.secretFile" "mlflow-token") }}
{{- end }}
{{- else if eq $section "audit" }}
{{- if $secrets.signingKey.name }}
{{- $_ := set $settings "signing_key_file" (include "tracegate.secretFile" "audit-signing-key.pem") }}
{{- end }}
{{- end }}
{{- if $settings }}
[{{ $section }}]
{{- include "tracegate.toml.table" $settings }}
{{ end }}
{{- end }}
{{- range $index, $issuer := .Values.config.identity.issuers }}
{{- $settings := deepCopy $issuer }}
{{- $own := dig $issuer.issuer dict $secrets.issuers }}
{{- if $own.clientSecret }}
{{- $_ := set $settings "client_secret_file" (include "tracegate.secretFile" (printf "issuer-%d-client-secret" $index)) }}
{{- end }}
{{- if $own.hs256Secret }}
{{- $_ := set $settings "hs256_secret_file" (include "tracegate.secretFile" (printf "issuer-%d-hs256-secret" $index)) }}
{{- end }}
[[identity.issuers]]
{{- include "tracegate.toml.table" $settings }}
{{ end }}
{{- range .Values.config.identity.federation }}
[[identity.federation]]
{{- include "tracegate.toml.table" . }}
{{ end }}
{{- range .Values.config.identity.certificates }}
[[identity.certificates]]
{{- include "tracegate.toml.table" . }}
{{ end }}
{{- end }}

{{/* Sources of the volume of TLS files: a list, as JSON. One volume, so that all of them change at one moment. */}}
{{- define "tracegate.tlsSources" -}}
{{- $sources := list }}
{{- with .Values.secrets.tls }}
{{- if .name }}
{{- $items := list (dict "key" .certificate "path" "tls.crt") (dict "key" .key "path" "tls.key") }}
{{- $sources = append $sources (dict "secret" (dict "name" .name "items" $items)) }}
{{- end }}
{{- end }}
{{- with .Values.secrets.tlsClientCa }}
{{- if .name }}
{{- $items := list (dict "key" .key "path" "client-ca.crt") }}
{{- $sources = append $sources (dict "secret" (dict "name" .name "items" $items)) }}
{{- end }}
{{- end }}
{{- toJson $sources }}
{{- end }}

{{/* Sources of the volume of secret files: a list, as JSON. */}}
{{- define "tracegate.secretSources" -}}
{{- $files := list }}
{{- $secrets := .Values.secrets }}
{{- range $file, $reference := dict "mlflow-password" $secrets.mlflowPassword "mlflow-token" $secrets.mlflowToken "audit-signing-key.pem" $secrets.signingKey }}
{{- if $reference.name }}
{{- $files = append $files (dict "file" $file "name" $reference.name "key" $reference.key) }}
{{- end }}
{{- end }}
{{- range $index, $issuer := .Values.config.identity.issuers }}
{{- $own := dig $issuer.issuer dict $secrets.issuers }}
{{- with $own.clientSecret }}
{{- $files = append $files (dict "file" (printf "issuer-%d-client-secret" $index) "name" .name "key" .key) }}
{{- end }}
{{- with $own.hs256Secret }}
{{- $files = append $files (dict "file" (printf "issuer-%d-hs256-secret" $index) "name" .name "key" .key) }}
{{- end }}
{{- end }}
{{- $sources := list }}
{{- range $files }}
{{- $item := dict "key" .key "path" .file }}
{{- $sources = append $sources (dict "secret" (dict "name" .name "items" (list $item))) }}
{{- end }}
{{- toJson $sources }}
{{- end }}
