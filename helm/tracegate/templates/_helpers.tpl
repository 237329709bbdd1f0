{{/* Names. */}}
{{- define "tracegate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* 52 characters: a StatefulSet's pods carry its name, a number and a hash in a label of 63. */}}
{{- define "tracegate.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "tracegate.selectorLabels" -}}
app.kubernetes.io/name: {{ include "tracegate.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tracegate.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "tracegate.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "tracegate.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "tracegate.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "tracegate.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}
{{- end }}

{{/* The port that the process listens on, out of `config.server.listen`. */}}
{{- define "tracegate.port" -}}
{{- splitList ":" .Values.config.server.listen | last }}
{{- end }}

{{/* The port for health and metrics, out of `config.server.health_listen`; empty if it has none of its own. */}}
{{- define "tracegate.healthPort" -}}
{{- with .Values.config.server.health_listen }}{{ splitList ":" . | last }}{{ end }}
{{- end }}

{{/* What is spoken on the main port, which is its name too. */}}
{{- define "tracegate.scheme" -}}
{{- if or .Values.secrets.tls.name .Values.config.server.tls_certificate }}https{{ else }}http{{ end }}
{{- end }}

{{/* A probe's question. Kubelet verifies no certificate, and shows none. */}}
{{- define "tracegate.httpGet" -}}
httpGet:
  path: {{ .path }}
  {{- if include "tracegate.healthPort" .root }}
  port: health
  {{- else }}
  port: {{ include "tracegate.scheme" .root }}
  {{- if eq (include "tracegate.scheme" .root) "https" }}
  scheme: HTTPS
  {{- end }}
  {{- end }}
{{- end }}

{{/* Whether a Job migrates the database. */}}
{{- define "tracegate.migrates" -}}
{{- if and .Values.migrations.enabled .Values.secrets.database.name }}true{{ end }}
{{- end }}

{{/* Whether there is, or may come to be, more than one replica. */}}
{{- define "tracegate.several" -}}
{{- if .Values.autoscaling.enabled }}
{{- if gt (int .Values.autoscaling.maxReplicas) 1 }}true{{ end }}
{{- else if gt (int .Values.replicaCount) 1 }}true{{ end }}
{{- end }}

{{/* Time for the pause, for calls in flight, and for the record: its end, and the index. */}}
{{- define "tracegate.gracePeriod" -}}
{{- add .Values.preStopSleepSeconds .Values.config.server.shutdown_seconds 15 }}
{{- end }}

{{/* The port of a URL. */}}
{{- define "tracegate.urlPort" -}}
{{- $url := urlParse . }}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" }}
{{- if $port }}{{ $port }}{{ else if eq $url.scheme "http" }}80{{ else }}443{{ end }}
{{- end }}

{{/* What does not go together, and the schema cannot say. */}}
{{- define "tracegate.check" -}}
{{- $config := .Values.config }}
{{- if and (include "tracegate.several" .) (not $config.mlflow.url) (not $config.mlflow.artifacts) }}
{{- fail "several replicas with a store of their own need `config.mlflow.artifacts`, a place for artifacts that all of them see; or set `config.mlflow.url`" }}
{{- end }}
{{- if and (include "tracegate.several" .) $config.audit.replica }}
{{- fail "`config.audit.replica` names one replica, and there are several: leave it out, and each has its pod's name" }}
{{- end }}
{{- if and .Values.secrets.mlflowPassword.name $config.mlflow.password_file }}
{{- fail "`secrets.mlflowPassword` and `config.mlflow.password_file` exclude each other" }}
{{- end }}
{{- if and .Values.secrets.mlflowToken.name $config.mlflow.token_file }}
{{- fail "`secrets.mlflowToken` and `config.mlflow.token_file` exclude each other" }}
{{- end }}
{{- if and .Values.secrets.signingKey.name $config.audit.signing_key_file }}
{{- fail "`secrets.signingKey` and `config.audit.signing_key_file` exclude each other" }}
{{- end }}
{{- $server := $config.server }}
{{- if and .Values.secrets.tls.name (or $server.tls_certificate $server.tls_key) }}
{{- fail "`secrets.tls` and `config.server.tls_certificate` exclude each other" }}
{{- end }}
{{- if and .Values.secrets.tlsClientCa.name $server.tls_client_ca }}
{{- fail "`secrets.tlsClientCa` and `config.server.tls_client_ca` exclude each other" }}
{{- end }}
{{- if and .Values.secrets.tlsClientCa.name (eq (include "tracegate.scheme" .) "http") }}
{{- fail "`secrets.tlsClientCa` needs `secrets.tls`: clients show certificates in TLS alone" }}
{{- end }}
{{- if and $server.tls_client_required (not (include "tracegate.healthPort" .)) }}
{{- fail "`config.server.tls_client_required` needs `config.server.health_listen`: kubelet shows no certificate, and would restart every pod" }}
{{- end }}
{{- if eq (include "tracegate.healthPort" .) (include "tracegate.port" .) }}
{{- fail "`config.server.health_listen` needs another port than `config.server.listen`" }}
{{- end }}
{{- $known := list }}
{{- range $config.identity.issuers }}
{{- $known = append $known .issuer }}
{{- $secrets := dig .issuer dict $.Values.secrets.issuers }}
{{- if and $secrets.clientSecret .client_secret_file }}
{{- fail (printf "`secrets.issuers` and `client_secret_file` of the issuer `%s` exclude each other" .issuer) }}
{{- end }}
{{- if and $secrets.hs256Secret .hs256_secret_file }}
{{- fail (printf "`secrets.issuers` and `hs256_secret_file` of the issuer `%s` exclude each other" .issuer) }}
{{- end }}
{{- end }}
{{- range $issuer, $_ := .Values.secrets.issuers }}
{{- if not (has $issuer $known) }}
{{- fail (printf "`secrets.issuers` names `%s`, and `config.identity.issuers` has no such issuer" $issuer) }}
{{- end }}
{{- end }}
{{- if and .Values.networkPolicy.mlflow.podSelector (not $config.mlflow.url) }}
{{- fail "`networkPolicy.mlflow.podSelector` names an MLflow server's pods, and `config.mlflow.url` no server" }}
{{- end }}
{{- end }}

{{- define "tracegate.env" -}}
{{- if not .Values.config.audit.replica }}
# The name of this replica in the record, the same after a restart.
- name: TRACEGATE__AUDIT__REPLICA
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- end }}
{{- with .Values.secrets.database }}
{{- if .name }}
- name: TRACEGATE__DATABASE__URL
  valueFrom:
    secretKeyRef:
      name: {{ .name }}
      key: {{ .key }}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}
