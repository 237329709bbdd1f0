--
-- PostgreSQL database dump
--


-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: audit_partition(bigint); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.audit_partition(of_ms bigint) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    month TIMESTAMP := date_trunc('month', to_timestamp(of_ms / 1000.0) AT TIME ZONE 'UTC');
    first BIGINT := CAST(extract(epoch FROM month) * 1000 AS BIGINT);
    next BIGINT := CAST(extract(epoch FROM month + INTERVAL '1 month') * 1000 AS BIGINT);
    name TEXT;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('tracegate audit partitions'));
    FOREACH name IN ARRAY ARRAY['audit_events', 'audit_trace_ids', 'audit_securables'] LOOP
        IF to_regclass(name || to_char(month, '_YYYY_MM')) IS NULL THEN
            EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%s) TO (%s)',
                name || to_char(month, '_YYYY_MM'), name, first, next);
        END IF;
    END LOOP;
END $$;


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: _sqlx_migrations; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public._sqlx_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);


--
-- Name: access_requests; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.access_requests (
    id text NOT NULL,
    principal text NOT NULL,
    securable text NOT NULL,
    privilege text NOT NULL,
    reason text NOT NULL,
    duration_ms bigint,
    asked_at_ms bigint NOT NULL,
    state text NOT NULL,
    decided_by text,
    decided_at_ms bigint,
    decision_reason text,
    grant_id bigint,
    CONSTRAINT access_requests_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'approved'::text, 'refused'::text, 'withdrawn'::text, 'expired'::text])))
);


--
-- Name: access_reviews; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.access_reviews (
    grant_id bigint NOT NULL,
    reviewed_by text NOT NULL,
    reviewed_at_ms bigint NOT NULL,
    reason text
);


--
-- Name: artifact_roots; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.artifact_roots (
    path text NOT NULL COLLATE pg_catalog."C",
    experiment text NOT NULL
);


--
-- Name: audit_addresses; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.audit_addresses (
    principal text NOT NULL COLLATE pg_catalog."C",
    address text NOT NULL COLLATE pg_catalog."C",
    first_ms bigint NOT NULL,
    id bigint NOT NULL
);


--
-- Name: audit_days; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.audit_days (
    day bigint NOT NULL,
    principal text NOT NULL COLLATE pg_catalog."C",
    securable text NOT NULL COLLATE pg_catalog."C",
    operation text NOT NULL COLLATE pg_catalog."C",
    decision text NOT NULL COLLATE pg_catalog."C",
    calls bigint NOT NULL
);


--
-- Name: audit_events; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.audit_events (
    id bigint NOT NULL,
    time_ms bigint NOT NULL,
    kind text NOT NULL,
    decision_id text COLLATE pg_catalog."C",
    principal text COLLATE pg_catalog."C",
    operation text COLLATE pg_catalog."C",
    decision text,
    outcome text,
    status bigint,
    hash bytea,
    json text NOT NULL,
    actor text COLLATE pg_catalog."C"
)
PARTITION BY RANGE (time_ms);


--
-- Name: audit_events_2026_11; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.audit_events_2026_11 (
    id bigint NOT NULL,
    time_ms bigint NOT NULL,
    kind text NOT NULL,
    decision_id text COLLATE pg_catalog."C",
    principal text COLLATE pg_catalog."C",
    operation text COLLATE pg_catalog."C",
    decision text,
    outcome text,
    status bigint,
    hash bytea,
    json text NOT NULL,
    actor text COLLATE pg_catalog."C"
);


--
-- Name: audit_events_default; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.audit_events_default (
    id bigint NOT NULL,
    time_ms bigint NOT NULL,
    kind text NOT NULL,
    decision_id text COLLATE pg_catalog."C",
    principal text COLLATE pg_catalog."C",
    operation text COLLATE pg_catalog."C",
    decision text,
    outcome text,
    status bigint,
    hash bytea,
    json text NOT NULL,
    actor text COLLATE pg_catalog."C"
);


--
-- Name: audit_grant_uses; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.audit_grant_uses (
    grant_id bigint NOT NULL,
    uses bigint NOT NULL,
    first_ms bigint NOT NULL,
    last_ms bigint NOT NULL
);


--
-- Name: audit_migrations; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.audit_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);


--
-- Name: audit_positions; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.audit_positions (
    replica text NOT NULL COLLATE pg_catalog."C",
    seq bigint NOT NULL,
    hash bytea NOT NULL,
    number bigint NOT NULL
);


--
-- Name: audit_positions_number_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.audit_positions_number_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: audit_positions_number_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: -
--

ALTER SEQUENCE public.audit_positions_number_seq OWNED BY public.audit_positions.number;


--
-- Name: audit_securables; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.audit_securables (
    securable text NOT NULL COLLATE pg_catalog."C",
    time_ms bigint NOT NULL,
    id bigint NOT NULL
)
PARTITION BY RANGE (time_ms);


--
-- Name: audit_securables_2026_11; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.audit_securables_2026_11 (
    securable text NOT NULL COLLATE pg_catalog."C",
    time_ms bigint NOT NULL,
    id bigint NOT NULL
);


--
-- Name: audit_securables_default; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.audit_securables_default (
    securable text NOT NULL COLLATE pg_catalog."C",
    time_ms bigint NOT NULL,
    id bigint NOT NULL
);


--
-- Name: audit_subjects; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.audit_subjects (
    key text NOT NULL COLLATE pg_catalog."C",
    value text NOT NULL COLLATE pg_catalog."C",
    trace_id text NOT NULL COLLATE pg_catalog."C"
);


--
-- Name: audit_trace_ids; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.audit_trace_ids (
    trace_id text NOT NULL COLLATE pg_catalog."C",
    time_ms bigint NOT NULL,
    id bigint NOT NULL,
    level bigint NOT NULL,
    principal text COLLATE pg_catalog."C",
    operation text COLLATE pg_catalog."C",
    actor text COLLATE pg_catalog."C"
)
PARTITION BY RANGE (time_ms);


--
-- Name: audit_trace_ids_2026_11; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.audit_trace_ids_2026_11 (
    trace_id text NOT NULL COLLATE pg_catalog."C",
    time_ms bigint NOT NULL,
    id bigint NOT NULL,
    level bigint NOT NULL,
    principal text COLLATE pg_catalog."C",
    operation text COLLATE pg_catalog."C",
    actor text COLLATE pg_catalog."C"
);


--
-- Name: audit_trace_ids_default; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.audit_trace_ids_default (
    trace_id text NOT NULL COLLATE pg_catalog."C",
    time_ms bigint NOT NULL,
    id bigint NOT NULL,
    level bigint NOT NULL,
    principal text COLLATE pg_catalog."C",
    operation text COLLATE pg_catalog."C",
    actor text COLLATE pg_catalog."C"
);


--
-- Name: client_secrets; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.client_secrets (
    id text NOT NULL,
    hash bytea NOT NULL,
    principal text NOT NULL,
    created_at_ms bigint NOT NULL,
    created_by text NOT NULL,
    scopes text,
    expires_at_ms bigint,
    last_used_at_ms bigint,
    revoked_at_ms bigint
);


--
-- Name: directory; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.directory (
    number bigint NOT NULL,
    principal text NOT NULL,
    display_name text,
    external_id text,
    description text,
    attributes text DEFAULT '{}'::text NOT NULL,
    changed_at_ms bigint NOT NULL
);


--
-- Name: directory_number_seq; Type: SEQUENCE; Schema: public; Owner: -
--

ALTER TABLE public.directory ALTER COLUMN number ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.directory_number_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: grants; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.grants (
    id bigint NOT NULL,
    principal text NOT NULL,
    securable text NOT NULL,
    privilege text NOT NULL,
    effect text NOT NULL,
    reason text,
    expires_at_ms bigint,
    granted_by text NOT NULL,
    granted_at_ms bigint NOT NULL,
    CONSTRAINT grants_effect_check CHECK ((effect = ANY (ARRAY['allow'::text, 'deny'::text])))
);


--
-- Name: grants_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

ALTER TABLE public.grants ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.grants_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: memberships; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.memberships (
    group_id text NOT NULL,
    member_id text NOT NULL
);


--
-- Name: passwords; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.passwords (
    principal text NOT NULL,
    hash text NOT NULL,
    changed_at_ms bigint NOT NULL,
    changed_by text NOT NULL
);


--
-- Name: policy_changes; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.policy_changes (
    version bigint NOT NULL,
    at_ms bigint NOT NULL,
    changed_by text NOT NULL,
    action text NOT NULL,
    before_json text NOT NULL,
    after_json text NOT NULL,
    edits text
);


--
-- Name: policy_head; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.policy_head (
    id bigint NOT NULL,
    version bigint NOT NULL,
    CONSTRAINT policy_head_id_check CHECK ((id = 1))
);


--
-- Name: principals; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.principals (
    id text NOT NULL,
    active bigint DEFAULT 1 NOT NULL,
    created_at_ms bigint NOT NULL,
    created_by text NOT NULL,
    deleted_at_ms bigint
);


--
-- Name: secrets; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.secrets (
    name text NOT NULL,
    value bytea NOT NULL
);


--
-- Name: securables; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.securables (
    id text NOT NULL,
    parent text NOT NULL,
    name text NOT NULL
);


--
-- Name: sessions; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.sessions (
    id text NOT NULL,
    hash bytea NOT NULL,
    principal text NOT NULL,
    issuer text NOT NULL,
    subject text NOT NULL,
    issuer_session text,
    groups text NOT NULL,
    sealed_tokens text NOT NULL,
    created_at_ms bigint NOT NULL,
    last_used_at_ms bigint NOT NULL,
    refresh_at_ms bigint,
    expires_at_ms bigint NOT NULL,
    ended_at_ms bigint,
    ended_why text,
    source_address text,
    user_agent text
);


--
-- Name: tokens; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.tokens (
    id text NOT NULL,
    hash bytea NOT NULL,
    principal text NOT NULL,
    name text NOT NULL,
    created_at_ms bigint NOT NULL,
    created_by text NOT NULL,
    expires_at_ms bigint,
    last_used_at_ms bigint,
    revoked_at_ms bigint,
    kind text DEFAULT 'personal'::text NOT NULL,
    scopes text,
    source text
);


--
-- Name: trace_claims; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.trace_claims (
    trace text NOT NULL,
    experiment text NOT NULL,
    started_by text,
    claimed_at_ms bigint NOT NULL
);


--
-- Name: usage_counts; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.usage_counts (
    subject text NOT NULL,
    span_start_ms bigint NOT NULL,
    used bigint NOT NULL
);


--
-- Name: usage_limits; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.usage_limits (
    securable text NOT NULL,
    principal text DEFAULT ''::text NOT NULL,
    name text NOT NULL,
    value bigint NOT NULL,
    set_by text NOT NULL,
    set_at_ms bigint NOT NULL
);


--
-- Name: audit_events_2026_11; Type: TABLE ATTACH; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit_events ATTACH PARTITION public.audit_events_2026_11 FOR VALUES FROM ('1793491200000') TO ('1796083200000');


--
-- Name: audit_events_default; Type: TABLE ATTACH; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit_events ATTACH PARTITION public.audit_events_default DEFAULT;


--
-- Name: audit_securables_2026_11; Type: TABLE ATTACH; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit_securables ATTACH PARTITION public.audit_securables_2026_11 FOR VALUES FROM ('1793491200000') TO ('1796083200000');


--
-- Name: audit_securables_default; Type: TABLE ATTACH; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit_securables ATTACH PARTITION public.audit_securables_default DEFAULT;


--
-- Name: audit_trace_ids_2026_11; Type: TABLE ATTACH; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit_trace_ids ATTACH PARTITION public.audit_trace_ids_2026_11 FOR VALUES FROM ('1793491200000') TO ('1796083200000');


--
-- Name: audit_trace_ids_default; Type: TABLE ATTACH; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit_trace_ids ATTACH PARTITION public.audit_trace_ids_default DEFAULT;


--
-- Name: audit_positions number; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit_positions ALTER COLUMN number SET DEFAULT nextval('public.audit_positions_number_seq'::regclass);


--
-- Data for Name: _sqlx_migrations; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public._sqlx_migrations VALUES (1, 'state', '2026-11-23 01:07:33.8573+00', true, '\x24cd0f31166be92a74f8e2253e6a6c6d9104444b3136d6c3a85e2a62bdc184cfdace407d918e55fdaed2ba5286428b89', 60764054);
INSERT INTO public._sqlx_migrations VALUES (2, 'policy edits', '2026-11-23 01:07:33.929171+00', true, '\x3f796314cf00ff79ee595173d94c620f8e98b74d5f244f4b7b9a7f5130d3696ffc95550e527b93b8989342133678a9f6', 6302506);
INSERT INTO public._sqlx_migrations VALUES (3, 'identity', '2026-11-23 01:07:33.935653+00', true, '\x04b5ef99ab04f820c1ec3cf62cd03279868911ec2073a1d45e9d39974860a7eaa7811641cc8a73209d5ce8f92eb13c02', 64112926);


--
-- Data for Name: access_requests; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: access_reviews; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: artifact_roots; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: audit_addresses; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.audit_addresses VALUES ('user:admin', '127.0.0.1', 1795396054972, 1099511627779);
INSERT INTO public.audit_addresses VALUES ('user:alice', '127.0.0.1', 1795396055549, 1099511627787);
INSERT INTO public.audit_addresses VALUES ('user:dave', '127.0.0.1', 1795396056625, 1099511627799);


--
-- Data for Name: audit_days; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.audit_days VALUES (20780, 'user:admin', '', 'experiment.get_by_name', 'deny', 2);
INSERT INTO public.audit_days VALUES (20780, 'user:admin', 'workspace:default', 'experiment.create', 'allow', 2);
INSERT INTO public.audit_days VALUES (20780, 'user:alice', 'experiment:1', 'trace.start_v3', 'allow', 3);
INSERT INTO public.audit_days VALUES (20780, 'user:alice', 'experiment:1', 'otlp.export', 'allow', 3);
INSERT INTO public.audit_days VALUES (20780, 'user:dave', 'experiment:2', 'otlp.export', 'allow', 2);
INSERT INTO public.audit_days VALUES (20780, 'user:dave', 'experiment:2', 'trace.start_v3', 'allow', 2);


--
-- Data for Name: audit_events_2026_11; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.audit_events_2026_11 VALUES (1099511627777, 1795396054108, 'key', NULL, NULL, NULL, NULL, NULL, NULL, '\x4ef345f4d38b5dc3d4537f53b9e3bba858b1c2c92cffdbb551d878565c7f7e31', '{"time_ms":1795396054108,"key_id":"90ee3bce29e719844e8477f2e9e9a766","public_key":"d62f9a0e83e36ea96164011e966070fa753b6a4045f17146013637403384a8c7"}', NULL);
INSERT INTO public.audit_events_2026_11 VALUES (1099511627778, 1795396054210, 'checkpoint', NULL, NULL, NULL, NULL, NULL, NULL, '\xb3fba54925f9545556868be0c8562315dc843228cf03762ce8f7de2341ccd10f', '{"time_ms":1795396054210,"replica":"a798e9a8870545f3b2af5b5cd4b24abb","number":1,"last_seq":1,"last_hash":"4ef345f4d38b5dc3d4537f53b9e3bba858b1c2c92cffdbb551d878565c7f7e31","records":1,"previous":"0000000000000000000000000000000000000000000000000000000000000000","key_id":"90ee3bce29e719844e8477f2e9e9a766","signature":"e79e3a348556a89788dc763ac80af07380340e5558fbf3cbc40951afcd3ca67bd2fd19c585368f504cce077c1dadd1ff30c2e1c6673b08e67b17c0e97f65f800"}', NULL);
INSERT INTO public.audit_events_2026_11 VALUES (1099511627779, 1795396054972, 'complete', '01a205f1-aecb-70bf-a664-3111fa46fc20', 'user:admin', 'experiment.get_by_name', 'deny', 'refused', 404, '\x2bab6fa32cf7ec83be7d7a2fa4130149105de65250825d246bea02718b82810f', '{"id":"01a205f1-afbc-7751-a8f8-1695c4894b6e","kind":"complete","time_ms":1795396054972,"principal":"user:admin","proof":"token:tok_01a205f1ada6733bab46191791110382","request":{"source_address":"127.0.0.1","request_id":"01a205f1-aecb-70bf-a664-311032651d05","method":"GET","path":"/api/2.0/mlflow/experiments/get-by-name"},"operation":"experiment.get_by_name","decision_id":"01a205f1-aecb-70bf-a664-3111fa46fc20","decision":"deny","policy_version":13,"outcome":"refused","status":404,"reason":"Could not find experiment with name ''support-bot''","bytes_in":0,"bytes_out":0,"duration_us":240716}', NULL);
INSERT INTO public.audit_events_2026_11 VALUES (1099511627780, 1795396055036, 'begin', '01a205f1-affc-7425-bff2-d63e9a99862c', 'user:admin', 'experiment.create', 'allow', 'pending', NULL, '\x04c2758fce9d608d6dbd6f162a07a5dab3916bb20946df7c878acfeaa61031ff', '{"id":"01a205f1-affc-7425-bff2-d63e9a99862c","kind":"begin","time_ms":1795396055036,"principal":"user:admin","proof":"token:tok_01a205f1ada6733bab46191791110382","request":{"source_address":"127.0.0.1","request_id":"01a205f1-affc-7425-bff2-d63d08a43855","method":"POST","path":"/api/2.0/mlflow/experiments/create"},"operation":"experiment.create","securables":["workspace:default"],"privileges":["experiment.create"],"decision_id":"01a205f1-affc-7425-bff2-d63e9a99862c","decision":"allow","deciding_grants":[0,1],"policy_version":13,"outcome":"pending","bytes_in":22,"bytes_out":0,"duration_us":1069}', NULL);
INSERT INTO public.audit_events_2026_11 VALUES (1099511627781, 1795396055135, 'policy_change', '01a205f1-affc-7425-bff2-d63e9a99862c', 'user:admin', 'experiment.create', 'allow', 'success', NULL, '\x73631679ed8150f16383b9bef86d1da189e986cd424c28a23be4b9e833d60778', '{"id":"01a205f1-b05f-74ef-910d-62a432ba556c","kind":"policy_change","time_ms":1795396055135,"principal":"user:admin","proof":"token:tok_01a205f1ada6733bab46191791110382","request":{"source_address":"127.0.0.1","request_id":"01a205f1-affc-7425-bff2-d63d08a43855","method":"POST","path":"/api/2.0/mlflow/experiments/create"},"operation":"experiment.create","securables":["workspace:default"],"privileges":["experiment.create"],"decision_id":"01a205f1-affc-7425-bff2-d63e9a99862c","decision":"allow","deciding_grants":[0,1],"policy_version":14,"outcome":"success","bytes_in":22,"bytes_out":0,"duration_us":0,"policy_change":{"action":"grant.add","before":null,"after":{"id":4,"principal":"user:admin","securable":"experiment:1","privilege":"CAN_MANAGE","effect":"allow","reason":"created it","expires_at_ms":null,"granted_by":"user:admin","granted_at_ms":1795396055122}}}', NULL);
INSERT INTO public.audit_events_2026_11 VALUES (1099511627782, 1795396055143, 'complete', '01a205f1-affc-7425-bff2-d63e9a99862c', 'user:admin', 'experiment.create', 'allow', 'success', 200, '\x11dfb277c4238046368bc6ffb192eca9f1865a7f174db97d67b582e6e060e88e', '{"id":"01a205f1-b067-759e-985f-42c4d991811d","kind":"complete","time_ms":1795396055143,"principal":"user:admin","proof":"token:tok_01a205f1ada6733bab46191791110382","request":{"source_address":"127.0.0.1","request_id":"01a205f1-affc-7425-bff2-d63d08a43855","method":"POST","path":"/api/2.0/mlflow/experiments/create"},"operation":"experiment.create","securables":["workspace:default"],"privileges":["experiment.create"],"decision_id":"01a205f1-affc-7425-bff2-d63e9a99862c","decision":"allow","deciding_grants":[0,1],"policy_version":13,"outcome":"success","status":200,"bytes_in":22,"bytes_out":21,"duration_us":106784}', NULL);
INSERT INTO public.audit_events_2026_11 VALUES (1099511627783, 1795396055221, 'complete', '01a205f1-b099-7013-9264-c081139aa2cb', 'user:admin', 'experiment.get_by_name', 'deny', 'refused', 404, '\x599af703cb009ae2326591b1cd24df8f90d99c5177a001e2cb21408ca23c6a53', '{"id":"01a205f1-b0b5-735c-8f92-ce1b02226206","kind":"complete","time_ms":1795396055221,"principal":"user:admin","proof":"token:tok_01a205f1ada6733bab46191791110382","request":{"source_address":"127.0.0.1","request_id":"01a205f1-b099-7013-9264-c080f089024a","method":"GET","path":"/api/2.0/mlflow/experiments/get-by-name"},"operation":"experiment.get_by_name","decision_id":"01a205f1-b099-7013-9264-c081139aa2cb","decision":"deny","policy_version":14,"outcome":"refused","status":404,"reason":"Could not find experiment with name ''secret-lab''","bytes_in":0,"bytes_out":0,"duration_us":27788}', NULL);
INSERT INTO public.audit_events_2026_11 VALUES (1099511627784, 1795396055284, 'begin', '01a205f1-b0f4-72ce-b48a-2c1f4cbee912', 'user:admin', 'experiment.create', 'allow', 'pending', NULL, '\x0c67856e0ff44944930c30ce1b6a7347909da1f439b772432d25c17aaa039190', '{"id":"01a205f1-b0f4-72ce-b48a-2c1f4cbee912","kind":"begin","time_ms":1795396055284,"principal":"user:admin","proof":"token:tok_01a205f1ada6733bab46191791110382","request":{"source_address":"127.0.0.1","request_id":"01a205f1-b0f4-72ce-b48a-2c1ea5aa56ba","method":"POST","path":"/api/2.0/mlflow/experiments/create"},"operation":"experiment.create","securables":["workspace:default"],"privileges":["experiment.create"],"decision_id":"01a205f1-b0f4-72ce-b48a-2c1f4cbee912","decision":"allow","deciding_grants":[0,1],"policy_version":14,"outcome":"pending","bytes_in":21,"bytes_out":0,"duration_us":1010}', NULL);
INSERT INTO public.audit_events_2026_11 VALUES (1099511627785, 1795396055363, 'policy_change', '01a205f1-b0f4-72ce-b48a-2c1f4cbee912', 'user:admin', 'experiment.create', 'allow', 'success', NULL, '\x92553cd81bc464702a0daf4cd0828aaf784c36329452001d35dc47a51d765cc9', '{"id":"01a205f1-b143-70df-acfa-b2defb16b57d","kind":"policy_change","time_ms":1795396055363,"principal":"user:admin","proof":"token:tok_01a205f1ada6733bab46191791110382","request":{"source_address":"127.0.0.1","request_id":"01a205f1-b0f4-72ce-b48a-2c1ea5aa56ba","method":"POST","path":"/api/2.0/mlflow/experiments/create"},"operation":"experiment.create","securables":["workspace:default"],"privileges":["experiment.create"],"decision_id":"01a205f1-b0f4-72ce-b48a-2c1f4cbee912","decision":"allow","deciding_grants":[0,1],"policy_version":15,"outcome":"success","bytes_in":21,"bytes_out":0,"duration_us":0,"policy_change":{"action":"grant.add","before":null,"after":{"id":5,"principal":"user:admin","securable":"experiment:2","privilege":"CAN_MANAGE","effect":"allow","reason":"created it","expires_at_ms":null,"granted_by":"user:admin","granted_at_ms":1795396055358}}}', NULL);
INSERT INTO public.audit_events_2026_11 VALUES (1099511627786, 1795396055374, 'complete', '01a205f1-b0f4-72ce-b48a-2c1f4cbee912', 'user:admin', 'experiment.create', 'allow', 'success', 200, '\xb3ef313c9cec6c7b963342ccb62f92b65e34655f8a2773415ebb12aebef290d4', '{"id":"01a205f1-b14e-7042-b68e-75d5dd7d0a6d","kind":"complete","time_ms":1795396055374,"principal":"user:admin","proof":"token:tok_01a205f1ada6733bab46191791110382","request":{"source_address":"127.0.0.1","request_id":"01a205f1-b0f4-72ce-b48a-2c1ea5aa56ba","method":"POST","path":"/api/2.0/mlflow/experiments/create"},"operation":"experiment.create","securables":["workspace:default"],"privileges":["experiment.create"],"decision_id":"01a205f1-b0f4-72ce-b48a-2c1f4cbee912","decision":"allow","deciding_grants":[0,1],"policy_version":14,"outcome":"success","status":200,"bytes_in":21,"bytes_out":21,"duration_us":89279}', NULL);
INSERT INTO public.audit_events_2026_11 VALUES (1099511627787, 1795396055549, 'begin', '01a205f1-b1fd-73e4-904c-112cf779cb58', 'user:alice', 'trace.start_v3', 'allow', 'pending', NULL, '\x2dabd7a3e71708420e67d5b7cf3056e8ebecc1c8de33c3ba5f450c152d7e25ed', '{"id":"01a205f1-b1fd-73e4-904c-112cf779cb58","kind":"begin","time_ms":1795396055549,"principal":"user:alice","proof":"token:tok_01a205f1adaa732b8548211b2a250974","request":{"source_address":"127.0.0.1","request_id":"01a205f1-b1fd-73e4-904c-112b58217659","method":"POST","path":"/api/3.0/mlflow/traces"},"operation":"trace.start_v3","securables":["experiment:1"],"privileges":["trace.write"],"decision_id":"01a205f1-b1fd-73e4-904c-112cf779cb58","decision":"allow","deciding_grants":[6],"policy_version":21,"outcome":"pending","bytes_in":618,"bytes_out":0,"duration_us":71475,"trace_ids":["tr-bbbfff63287046c6828166b707fefbba"],"sight":"asked"}', NULL);
INSERT INTO public.audit_events_2026_11 VALUES (1099511627788, 1795396055726, 'complete', '01a205f1-b1fd-73e4-904c-112cf779cb58', 'user:alice', 'trace.start_v3', 'allow', 'success', 200, '\xe5e91d8fe804578518aef1dbbeba9f0d2edd9317337321a777c469ac5f75b648', '{"id":"01a205f1-b2ae-7777-954c-112849aa12d1","kind":"complete","time_ms":1795396055726,"principal":"user:alice","proof":"token:tok_01a205f1adaa732b8548211b2a250974","request":{"source_address":"127.0.0.1","request_id":"01a205f1-b1fd-73e4-904c-112b58217659","method":"POST","path":"/api/3.0/mlflow/traces"},"operation":"trace.start_v3","securables":["experiment:1"],"privileges":["trace.write"],"decision_id":"01a205f1-b1fd-73e4-904c-112cf779cb58","decision":"allow","deciding_grants":[6],"policy_version":21,"outcome":"success","status":200,"bytes_in":618,"bytes_out":777,"duration_us":177484,"trace_ids":["tr-bbbfff63287046c6828166b707fefbba"],"sight":"wrote"}', NULL);
INSERT INTO public.audit_events_2026_11 VALUES (1099511627795, 1795396056301, 'begin', '01a205f1-b4ed-741b-915b-55ed8ca3d453', 'user:alice', 'trace.start_v3', 'allow', 'pending', NULL, '\x516e93f1862f41a64bef821723abcae083726a0dd2571b7e1ded7b0981b1baf8', '{"id":"01a205f1-b4ed-741b-915b-55ed8ca3d453","kind":"begin","time_ms":1795396056301,"principal":"user:alice","proof":"token:tok_01a205f1adaa732b8548211b2a250974","request":{"source_address":"127.0.0.1","request_id":"01a205f1-b4ec-7428-a675-691a58c43a78","method":"POST","path":"/api/3.0/mlflow/traces"},"operation":"trace.start_v3","securables":["experiment:1"],"privileges":["trace.write"],"decision_id":"01a205f1-b4ed-741b-915b-55ed8ca3d453","decision":"allow","deciding_grants":[6],"policy_version":21,"outcome":"pending","bytes_in":594,"bytes_out":0,"duration_us":54181,"trace_ids":["tr-ee658561b1994afa91c47148ed38bfa8"],"sight":"asked"}', NULL);
INSERT INTO public.audit_events_2026_11 VALUES (1099511627796, 1795396056408, 'complete', '01a205f1-b4ed-741b-915b-55ed8ca3d453', 'user:alice', 'trace.start_v3', 'allow', 'success', 200, '\x872f9d7fd7b5fa221149932a6a3f284cf63af392f56d95907c5677bece5c4e89', '{"id":"01a205f1-b558-71e4-af0f-b983e285bb06","kind":"complete","time_ms":1795396056408,"principal":"user:alice","proof":"token:tok_01a205f1adaa732b8548211b2a250974","request":{"source_address":"127.0.0.1","request_id":"01a205f1-b4ec-7428-a675-691a58c43a78","method":"POST","path":"/api/3.0/mlflow/traces"},"operation":"trace.start_v3","securables":["experiment:1"],"privileges":["trace.write"],"decision_id":"01a205f1-b4ed-741b-915b-55ed8ca3d453","decision":"allow","deciding_grants":[6],"policy_version":21,"outcome":"success","status":200,"bytes_in":594,"bytes_out":753,"duration_us":107253,"trace_ids":["tr-ee658561b1994afa91c47148ed38bfa8"],"sight":"wrote"}', NULL);
INSERT INTO public.audit_events_2026_11 VALUES (1099511627797, 1795396056483, 'begin', '01a205f1-b5a3-76f8-9346-6f84ecaf1e38', 'user:alice', 'otlp.export', 'allow', 'pending', NULL, '\x961f7d24d75c1ee10cf95c1a12e01aeffaba6d9caafd602e4869c14be197589c', '{"id":"01a205f1-b5a3-76f8-9346-6f84ecaf1e38","kind":"begin","time_ms":1795396056483,"principal":"user:alice","proof":"token:tok_01a205f1adaa732b8548211b2a250974","request":{"source_address":"127.0.0.1","request_id":"01a205f1-b5a3-76f8-9346-6f830bc1724d","method":"POST","path":"/v1/traces"},"operation":"otlp.export","securables":["experiment:1"],"privileges":["trace.write"],"decision_id":"01a205f1-b5a3-76f8-9346-6f84ecaf1e38","decision":"allow","deciding_grants":[6],"policy_version":21,"outcome":"pending","bytes_in":1513,"bytes_out":0,"duration_us":1545,"trace_ids":["tr-ee658561b1994afa91c47148ed38bfa8"],"sight":"asked"}', NULL);
INSERT INTO public.audit_events_2026_11 VALUES (1099511627804, 1795396057045, 'complete', '01a205f1-b75d-7497-aff9-fa458c6f6d12', 'user:dave', 'trace.start_v3', 'allow', 'success', 200, '\xb154a92604386060041b5e9091da73c4f85b8bf21077c8460fbe044d64835218', '{"id":"01a205f1-b7d5-7753-af80-351e5738229c","kind":"complete","time_ms":1795396057045,"principal":"user:dave","proof":"token:tok_01a205f1ae0973798c74d99901a05b5d","request":{"source_address":"127.0.0.1","request_id":"01a205f1-b75d-7497-aff9-fa445084a479","method":"POST","path":"/api/3.0/mlflow/traces"},"operation":"trace.start_v3","securables":["experiment:2"],"privileges":["trace.write"],"decision_id":"01a205f1-b75d-7497-aff9-fa458c6f6d12","decision":"allow","deciding_grants":[11],"policy_version":21,"outcome":"success","status":200,"bytes_in":570,"bytes_out":728,"duration_us":120750,"trace_ids":["tr-80c0c8245d55431a987ac5ce16c50c9f"],"sight":"wrote"}', NULL);
INSERT INTO public.audit_events_2026_11 VALUES (1099511627805, 1795396057110, 'begin', '01a205f1-b816-7734-b629-638bc21353b9', 'user:dave', 'otlp.export', 'allow', 'pending', NULL, '\x0d2f1074e456785e1f6d5caadef7c1e24fdfa98efee8dae734a4b20571baabb7', '{"id":"01a205f1-b816-7734-b629-638bc21353b9","kind":"begin","time_ms":1795396057110,"principal":"user:dave","proof":"token:tok_01a205f1ae0973798c74d99901a05b5d","request":{"source_address":"127.0.0.1","request_id":"01a205f1-b816-7734-b629-638a9a15a109","method":"POST","path":"/v1/traces"},"operation":"otlp.export","securables":["experiment:2"],"privileges":["trace.write"],"decision_id":"01a205f1-b816-7734-b629-638bc21353b9","decision":"allow","deciding_grants":[11],"policy_version":21,"outcome":"pending","bytes_in":1486,"bytes_out":0,"duration_us":1997,"trace_ids":["tr-80c0c8245d55431a987ac5ce16c50c9f"],"sight":"asked"}', NULL);
INSERT INTO public.audit_events_2026_11 VALUES (1099511627806, 1795396057181, 'complete', '01a205f1-b816-7734-b629-638bc21353b9', 'user:dave', 'otlp.export', 'allow', 'success', 200, '\x654f0af5c8dcff7d37413b6ccba7a3a6937a82ae646974810f390ccab0c0024e', '{"id":"01a205f1-b85d-71d1-a055-48258c20fdca","kind":"complete","time_ms":1795396057181,"principal":"user:dave","proof":"token:tok_01a205f1ae0973798c74d99901a05b5d","request":{"source_address":"127.0.0.1","request_id":"01a205f1-b816-7734-b629-638a9a15a109","method":"POST","path":"/v1/traces"},"operation":"otlp.export","securables":["experiment:2"],"privileges":["trace.write"],"decision_id":"01a205f1-b816-7734-b629-638bc21353b9","decision":"allow","deciding_grants":[11],"policy_version":21,"outcome":"success","status":200,"bytes_in":1486,"bytes_out":0,"duration_us":70800,"trace_ids":["tr-80c0c8245d55431a987ac5ce16c50c9f"],"sight":"wrote"}', NULL);
INSERT INTO public.audit_events_2026_11 VALUES (1099511627807, 1795396057246, 'checkpoint', NULL, NULL, NULL, NULL, NULL, NULL, '\x387430c08001aa9fafbe82983af81c239981249dfab68ddb80ad590b0598eef1', '{"time_ms":1795396057246,"replica":"a798e9a8870545f3b2af5b5cd4b24abb","number":2,"last_seq":30,"last_hash":"654f0af5c8dcff7d37413b6ccba7a3a6937a82ae646974810f390ccab0c0024e","records":29,"previous":"78e7f0efbe262bab01c86decc2c015f29539a8eadf0cbfdf91d09ad4823524d0","key_id":"90ee3bce29e719844e8477f2e9e9a766","signature":"e537c0d23973edf39d6df8c0a112e3c2e1629e6b561bce77e5bcf4a03825087e59f6713e2b7cab8abeefe3d729b9d210b8d60984fa695e142f5296db8057740c"}', NULL);
INSERT INTO public.audit_events_2026_11 VALUES (1099511627808, 1795396057247, 'closed', NULL, NULL, NULL, NULL, NULL, NULL, '\x65ea49ea8b3626e4686b28fb846d96730194d046fa734fd2d8bf264da7483ed9', '{"time_ms":1795396057247}', NULL);
INSERT INTO public.audit_events_2026_11 VALUES (1099511627789, 1795396055789, 'begin', '01a205f1-b2ed-75a2-b6d6-e347e51c7087', 'user:alice', 'otlp.export', 'allow', 'pending', NULL, '\x01c1bf7dd3aa8b5c91ef34c8c4d25b622ac9eca1cce21b829421371e3dface42', '{"id":"01a205f1-b2ed-75a2-b6d6-e347e51c7087","kind":"begin","time_ms":1795396055789,"principal":"user:alice","proof":"token:tok_01a205f1adaa732b8548211b2a250974","request":{"source_address":"127.0.0.1","request_id":"01a205f1-b2ed-75a2-b6d6-e3462bb2dad8","method":"POST","path":"/v1/traces"},"operation":"otlp.export","securables":["experiment:1"],"privileges":["trace.write"],"decision_id":"01a205f1-b2ed-75a2-b6d6-e347e51c7087","decision":"allow","deciding_grants":[6],"policy_version":21,"outcome":"pending","bytes_in":1534,"bytes_out":0,"duration_us":10140,"trace_ids":["tr-bbbfff63287046c6828166b707fefbba"],"sight":"asked"}', NULL);
INSERT INTO public.audit_events_2026_11 VALUES (1099511627790, 1795396055876, 'complete', '01a205f1-b2ed-75a2-b6d6-e347e51c7087', 'user:alice', 'otlp.export', 'allow', 'success', 200, '\x642ebf5f336f40babb402edfc7cebd8c590ce1a4ff3ad3558829f2ad84faba6e', '{"id":"01a205f1-b344-737e-a943-5871785ffb6b","kind":"complete","time_ms":1795396055876,"principal":"user:alice","proof":"token:tok_01a205f1adaa732b8548211b2a250974","request":{"source_address":"127.0.0.1","request_id":"01a205f1-b2ed-75a2-b6d6-e3462bb2dad8","method":"POST","path":"/v1/traces"},"operation":"otlp.export","securables":["experiment:1"],"privileges":["trace.write"],"decision_id":"01a205f1-b2ed-75a2-b6d6-e347e51c7087","decision":"allow","deciding_grants":[6],"policy_version":21,"outcome":"success","status":200,"bytes_in":1534,"bytes_out":0,"duration_us":86766,"trace_ids":["tr-bbbfff63287046c6828166b707fefbba"],"sight":"wrote"}', NULL);
INSERT INTO public.audit_events_2026_11 VALUES (1099511627791, 1795396055952, 'begin', '01a205f1-b390-7795-9f64-3792308a6abd', 'user:alice', 'trace.start_v3', 'allow', 'pending', NULL, '\xd4e375e9e43bcf01fac40c801c718877fa0d8091af7de4102ffa6df49a593a80', '{"id":"01a205f1-b390-7795-9f64-3792308a6abd","kind":"begin","time_ms":1795396055952,"principal":"user:alice","proof":"token:tok_01a205f1adaa732b8548211b2a250974","request":{"source_address":"127.0.0.1","request_id":"01a205f1-b390-7795-9f64-379198203123","method":"POST","path":"/api/3.0/mlflow/traces"},"operation":"trace.start_v3","securables":["experiment:1"],"privileges":["trace.write"],"decision_id":"01a205f1-b390-7795-9f64-3792308a6abd","decision":"allow","deciding_grants":[6],"policy_version":21,"outcome":"pending","bytes_in":610,"bytes_out":0,"duration_us":65992,"trace_ids":["tr-bf68d522c0f3493885215c57d55fbfaf"],"sight":"asked"}', NULL);
INSERT INTO public.audit_events_2026_11 VALUES (1099511627798, 1795396056555, 'complete', '01a205f1-b5a3-76f8-9346-6f84ecaf1e38', 'user:alice', 'otlp.export', 'allow', 'success', 200, '\x6535c31101ea413294337cac0131d94a9be1ab04f3dfcdfd386488c57a9105a8', '{"id":"01a205f1-b5eb-7655-9cd2-ae3fc2d5725b","kind":"complete","time_ms":1795396056555,"principal":"user:alice","proof":"token:tok_01a205f1adaa732b8548211b2a250974","request":{"source_address":"127.0.0.1","request_id":"01a205f1-b5a3-76f8-9346-6f830bc1724d","method":"POST","path":"/v1/traces"},"operation":"otlp.export","securables":["experiment:1"],"privileges":["trace.write"],"decision_id":"01a205f1-b5a3-76f8-9346-6f84ecaf1e38","decision":"allow","deciding_grants":[6],"policy_version":21,"outcome":"success","status":200,"bytes_in":1513,"bytes_out":0,"duration_us":72382,"trace_ids":["tr-ee658561b1994afa91c47148ed38bfa8"],"sight":"wrote"}', NULL);
INSERT INTO public.audit_events_2026_11 VALUES (1099511627799, 1795396056625, 'begin', '01a205f1-b631-7438-b8bb-96fa7bcd8d79', 'user:dave', 'trace.start_v3', 'allow', 'pending', NULL, '\xa9ee3602f00161393d15ca41fb064d5621c07974d6914580d38bd4c19d2af6d3', '{"id":"01a205f1-b631-7438-b8bb-96fa7bcd8d79","kind":"begin","time_ms":1795396056625,"principal":"user:dave","proof":"token:tok_01a205f1ae0973798c74d99901a05b5d","request":{"source_address":"127.0.0.1","request_id":"01a205f1-b631-7438-b8bb-96f9afcb5a69","method":"POST","path":"/api/3.0/mlflow/traces"},"operation":"trace.start_v3","securables":["experiment:2"],"privileges":["trace.write"],"decision_id":"01a205f1-b631-7438-b8bb-96fa7bcd8d79","decision":"allow","deciding_grants":[11],"policy_version":21,"outcome":"pending","bytes_in":614,"bytes_out":0,"duration_us":64466,"trace_ids":["tr-d8569f202d3b425da8ef8eb1604a83aa"],"sight":"asked"}', NULL);
INSERT INTO public.audit_events_2026_11 VALUES (1099511627800, 1795396056742, 'complete', '01a205f1-b631-7438-b8bb-96fa7bcd8d79', 'user:dave', 'trace.start_v3', 'allow', 'success', 200, '\x24d4a567c532ba971026d3d30259140e92de9d483bbb76fa8fa1a841f56718f4', '{"id":"01a205f1-b6a6-7521-92da-e6871109822e","kind":"complete","time_ms":1795396056742,"principal":"user:dave","proof":"token:tok_01a205f1ae0973798c74d99901a05b5d","request":{"source_address":"127.0.0.1","request_id":"01a205f1-b631-7438-b8bb-96f9afcb5a69","method":"POST","path":"/api/3.0/mlflow/traces"},"operation":"trace.start_v3","securables":["experiment:2"],"privileges":["trace.write"],"decision_id":"01a205f1-b631-7438-b8bb-96fa7bcd8d79","decision":"allow","deciding_grants":[11],"policy_version":21,"outcome":"success","status":200,"bytes_in":614,"bytes_out":772,"duration_us":116986,"trace_ids":["tr-d8569f202d3b425da8ef8eb1604a83aa"],"sight":"wrote"}', NULL);
INSERT INTO public.audit_events_2026_11 VALUES (1099511627792, 1795396056083, 'complete', '01a205f1-b390-7795-9f64-3792308a6abd', 'user:alice', 'trace.start_v3', 'allow', 'success', 200, '\x44f5b55de451d1886fc6117c41d1c84000c3a410211b9e3fc4ea80d85a432565', '{"id":"01a205f1-b413-7528-a616-cf38599b41d5","kind":"complete","time_ms":1795396056083,"principal":"user:alice","proof":"token:tok_01a205f1adaa732b8548211b2a250974","request":{"source_address":"127.0.0.1","request_id":"01a205f1-b390-7795-9f64-379198203123","method":"POST","path":"/api/3.0/mlflow/traces"},"operation":"trace.start_v3","securables":["experiment:1"],"privileges":["trace.write"],"decision_id":"01a205f1-b390-7795-9f64-3792308a6abd","decision":"allow","deciding_grants":[6],"policy_version":21,"outcome":"success","status":200,"bytes_in":610,"bytes_out":769,"duration_us":131706,"trace_ids":["tr-bf68d522c0f3493885215c57d55fbfaf"],"sight":"wrote"}', NULL);
INSERT INTO public.audit_events_2026_11 VALUES (1099511627793, 1795396056139, 'begin', '01a205f1-b44b-7061-956e-daf5c86241b5', 'user:alice', 'otlp.export', 'allow', 'pending', NULL, '\x4e32242ee04a96d8b6db82d03774415c5c6455358f33c801da9840210e7127db', '{"id":"01a205f1-b44b-7061-956e-daf5c86241b5","kind":"begin","time_ms":1795396056139,"principal":"user:alice","proof":"token:tok_01a205f1adaa732b8548211b2a250974","request":{"source_address":"127.0.0.1","request_id":"01a205f1-b44b-7061-956e-daf44dbe7cf9","method":"POST","path":"/v1/traces"},"operation":"otlp.export","securables":["experiment:1"],"privileges":["trace.write"],"decision_id":"01a205f1-b44b-7061-956e-daf5c86241b5","decision":"allow","deciding_grants":[6],"policy_version":21,"outcome":"pending","bytes_in":1529,"bytes_out":0,"duration_us":1505,"trace_ids":["tr-bf68d522c0f3493885215c57d55fbfaf"],"sight":"asked"}', NULL);
INSERT INTO public.audit_events_2026_11 VALUES (1099511627794, 1795396056231, 'complete', '01a205f1-b44b-7061-956e-daf5c86241b5', 'user:alice', 'otlp.export', 'allow', 'success', 200, '\xc9cae9a6ab0c5817c04f1e5975a402d6952216664fae8daf4c13dc9d3499d332', '{"id":"01a205f1-b4a7-7122-a7cc-ae5cba9408b6","kind":"complete","time_ms":1795396056231,"principal":"user:alice","proof":"token:tok_01a205f1adaa732b8548211b2a250974","request":{"source_address":"127.0.0.1","request_id":"01a205f1-b44b-7061-956e-daf44dbe7cf9","method":"POST","path":"/v1/traces"},"operation":"otlp.export","securables":["experiment:1"],"privileges":["trace.write"],"decision_id":"01a205f1-b44b-7061-956e-daf5c86241b5","decision":"allow","deciding_grants":[6],"policy_version":21,"outcome":"success","status":200,"bytes_in":1529,"bytes_out":0,"duration_us":91522,"trace_ids":["tr-bf68d522c0f3493885215c57d55fbfaf"],"sight":"wrote"}', NULL);
INSERT INTO public.audit_events_2026_11 VALUES (1099511627801, 1795396056811, 'begin', '01a205f1-b6eb-7231-ae41-f7195731a2d5', 'user:dave', 'otlp.export', 'allow', 'pending', NULL, '\x859db0833582c54b42c0d6401ba8b572ec084c7cda592f634580ab5c09819c59', '{"id":"01a205f1-b6eb-7231-ae41-f7195731a2d5","kind":"begin","time_ms":1795396056811,"principal":"user:dave","proof":"token:tok_01a205f1ae0973798c74d99901a05b5d","request":{"source_address":"127.0.0.1","request_id":"01a205f1-b6eb-7231-ae41-f7183004bff9","method":"POST","path":"/v1/traces"},"operation":"otlp.export","securables":["experiment:2"],"privileges":["trace.write"],"decision_id":"01a205f1-b6eb-7231-ae41-f7195731a2d5","decision":"allow","deciding_grants":[11],"policy_version":21,"outcome":"pending","bytes_in":1533,"bytes_out":0,"duration_us":1278,"trace_ids":["tr-d8569f202d3b425da8ef8eb1604a83aa"],"sight":"asked"}', NULL);
INSERT INTO public.audit_events_2026_11 VALUES (1099511627802, 1795396056873, 'complete', '01a205f1-b6eb-7231-ae41-f7195731a2d5', 'user:dave', 'otlp.export', 'allow', 'success', 200, '\xd2486db81e6ac2c281e90c37b3d4e3e307a72d6971ac7875ce1bc4419a12686f', '{"id":"01a205f1-b729-7389-8805-e7216488f5c1","kind":"complete","time_ms":1795396056873,"principal":"user:dave","proof":"token:tok_01a205f1ae0973798c74d99901a05b5d","request":{"source_address":"127.0.0.1","request_id":"01a205f1-b6eb-7231-ae41-f7183004bff9","method":"POST","path":"/v1/traces"},"operation":"otlp.export","securables":["experiment:2"],"privileges":["trace.write"],"decision_id":"01a205f1-b6eb-7231-ae41-f7195731a2d5","decision":"allow","deciding_grants":[11],"policy_version":21,"outcome":"success","status":200,"bytes_in":1533,"bytes_out":0,"duration_us":61219,"trace_ids":["tr-d8569f202d3b425da8ef8eb1604a83aa"],"sight":"wrote"}', NULL);
INSERT INTO public.audit_events_2026_11 VALUES (1099511627803, 1795396056925, 'begin', '01a205f1-b75d-7497-aff9-fa458c6f6d12', 'user:dave', 'trace.start_v3', 'allow', 'pending', NULL, '\xd49f3594965e23422224e3853c4c636191e23edd2528f47a39a4f8d81bb9ab78', '{"id":"01a205f1-b75d-7497-aff9-fa458c6f6d12","kind":"begin","time_ms":1795396056925,"principal":"user:dave","proof":"token:tok_01a205f1ae0973798c74d99901a05b5d","request":{"source_address":"127.0.0.1","request_id":"01a205f1-b75d-7497-aff9-fa445084a479","method":"POST","path":"/api/3.0/mlflow/traces"},"operation":"trace.start_v3","securables":["experiment:2"],"privileges":["trace.write"],"decision_id":"01a205f1-b75d-7497-aff9-fa458c6f6d12","decision":"allow","deciding_grants":[11],"policy_version":21,"outcome":"pending","bytes_in":570,"bytes_out":0,"duration_us":59834,"trace_ids":["tr-80c0c8245d55431a987ac5ce16c50c9f"],"sight":"asked"}', NULL);


--
-- Data for Name: audit_events_default; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: audit_grant_uses; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.audit_grant_uses VALUES (0, 2, 1795396055143, 1795396055374);
INSERT INTO public.audit_grant_uses VALUES (1, 2, 1795396055143, 1795396055374);
INSERT INTO public.audit_grant_uses VALUES (6, 6, 1795396055726, 1795396056555);
INSERT INTO public.audit_grant_uses VALUES (11, 4, 1795396056742, 1795396057181);


--
-- Data for Name: audit_migrations; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.audit_migrations VALUES (1, 'audit', '2026-11-23 01:07:34.027913+00', true, '\xc18fe2b44b2063d55e72e08b24d8d6a82aeaea4d679cac3b2402605ea4a4c5490131794acf3c49b473f0ae653f22ce32', 18548383);
INSERT INTO public.audit_migrations VALUES (2, 'questions', '2026-11-23 01:07:34.046998+00', true, '\x6a6433c247f18b18b7ec7c28dcc2e8ee3c4420620d6316c4bc8d736e5de812d2df69d5cac7d88ac5f0e3ef00d47cbfe7', 44834857);
INSERT INTO public.audit_migrations VALUES (3, 'actor', '2026-11-23 01:07:34.095289+00', true, '\xbcc6b8cbc072b64b2d3dc2265354176ea6ffef0f67a93c872cac2035e4ddddc15e2fbcd0d4cd264be8a3f3d1f1b5fda0', 1409427);


--
-- Data for Name: audit_positions; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.audit_positions VALUES ('a798e9a8870545f3b2af5b5cd4b24abb', 32, '\x65ea49ea8b3626e4686b28fb846d96730194d046fa734fd2d8bf264da7483ed9', 1);


--
-- Data for Name: audit_securables_2026_11; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.audit_securables_2026_11 VALUES ('workspace:default', 1795396055036, 1099511627780);
INSERT INTO public.audit_securables_2026_11 VALUES ('workspace:default', 1795396055135, 1099511627781);
INSERT INTO public.audit_securables_2026_11 VALUES ('workspace:default', 1795396055143, 1099511627782);
INSERT INTO public.audit_securables_2026_11 VALUES ('workspace:default', 1795396055284, 1099511627784);
INSERT INTO public.audit_securables_2026_11 VALUES ('workspace:default', 1795396055363, 1099511627785);
INSERT INTO public.audit_securables_2026_11 VALUES ('workspace:default', 1795396055374, 1099511627786);
INSERT INTO public.audit_securables_2026_11 VALUES ('experiment:1', 1795396055549, 1099511627787);
INSERT INTO public.audit_securables_2026_11 VALUES ('experiment:1', 1795396055726, 1099511627788);
INSERT INTO public.audit_securables_2026_11 VALUES ('experiment:1', 1795396055789, 1099511627789);
INSERT INTO public.audit_securables_2026_11 VALUES ('experiment:1', 1795396055876, 1099511627790);
INSERT INTO public.audit_securables_2026_11 VALUES ('experiment:1', 1795396055952, 1099511627791);
INSERT INTO public.audit_securables_2026_11 VALUES ('experiment:1', 1795396056083, 1099511627792);
INSERT INTO public.audit_securables_2026_11 VALUES ('experiment:1', 1795396056139, 1099511627793);
INSERT INTO public.audit_securables_2026_11 VALUES ('experiment:1', 1795396056231, 1099511627794);
INSERT INTO public.audit_securables_2026_11 VALUES ('experiment:1', 1795396056301, 1099511627795);
INSERT INTO public.audit_securables_2026_11 VALUES ('experiment:1', 1795396056408, 1099511627796);
INSERT INTO public.audit_securables_2026_11 VALUES ('experiment:1', 1795396056483, 1099511627797);
INSERT INTO public.audit_securables_2026_11 VALUES ('experiment:1', 1795396056555, 1099511627798);
INSERT INTO public.audit_securables_2026_11 VALUES ('experiment:2', 1795396056625, 1099511627799);
INSERT INTO public.audit_securables_2026_11 VALUES ('experiment:2', 1795396056742, 1099511627800);
INSERT INTO public.audit_securables_2026_11 VALUES ('experiment:2', 1795396056811, 1099511627801);
INSERT INTO public.audit_securables_2026_11 VALUES ('experiment:2', 1795396056873, 1099511627802);
INSERT INTO public.audit_securables_2026_11 VALUES ('experiment:2', 1795396056925, 1099511627803);
INSERT INTO public.audit_securables_2026_11 VALUES ('experiment:2', 1795396057045, 1099511627804);
INSERT INTO public.audit_securables_2026_11 VALUES ('experiment:2', 1795396057110, 1099511627805);
INSERT INTO public.audit_securables_2026_11 VALUES ('experiment:2', 1795396057181, 1099511627806);


--
-- Data for Name: audit_securables_default; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: audit_subjects; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: audit_trace_ids_2026_11; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.audit_trace_ids_2026_11 VALUES ('tr-bbbfff63287046c6828166b707fefbba', 1795396055549, 1099511627787, 0, 'user:alice', 'trace.start_v3', NULL);
INSERT INTO public.audit_trace_ids_2026_11 VALUES ('tr-bbbfff63287046c6828166b707fefbba', 1795396055726, 1099511627788, 1, 'user:alice', 'trace.start_v3', NULL);
INSERT INTO public.audit_trace_ids_2026_11 VALUES ('tr-bbbfff63287046c6828166b707fefbba', 1795396055789, 1099511627789, 0, 'user:alice', 'otlp.export', NULL);
INSERT INTO public.audit_trace_ids_2026_11 VALUES ('tr-bbbfff63287046c6828166b707fefbba', 1795396055876, 1099511627790, 1, 'user:alice', 'otlp.export', NULL);
INSERT INTO public.audit_trace_ids_2026_11 VALUES ('tr-bf68d522c0f3493885215c57d55fbfaf', 1795396055952, 1099511627791, 0, 'user:alice', 'trace.start_v3', NULL);
INSERT INTO public.audit_trace_ids_2026_11 VALUES ('tr-bf68d522c0f3493885215c57d55fbfaf', 1795396056083, 1099511627792, 1, 'user:alice', 'trace.start_v3', NULL);
INSERT INTO public.audit_trace_ids_2026_11 VALUES ('tr-bf68d522c0f3493885215c57d55fbfaf', 1795396056139, 1099511627793, 0, 'user:alice', 'otlp.export', NULL);
INSERT INTO public.audit_trace_ids_2026_11 VALUES ('tr-bf68d522c0f3493885215c57d55fbfaf', 1795396056231, 1099511627794, 1, 'user:alice', 'otlp.export', NULL);
INSERT INTO public.audit_trace_ids_2026_11 VALUES ('tr-ee658561b1994afa91c47148ed38bfa8', 1795396056301, 1099511627795, 0, 'user:alice', 'trace.start_v3', NULL);
INSERT INTO public.audit_trace_ids_2026_11 VALUES ('tr-ee658561b1994afa91c47148ed38bfa8', 1795396056408, 1099511627796, 1, 'user:alice', 'trace.start_v3', NULL);
INSERT INTO public.audit_trace_ids_2026_11 VALUES ('tr-ee658561b1994afa91c47148ed38bfa8', 1795396056483, 1099511627797, 0, 'user:alice', 'otlp.export', NULL);
INSERT INTO public.audit_trace_ids_2026_11 VALUES ('tr-ee658561b1994afa91c47148ed38bfa8', 1795396056555, 1099511627798, 1, 'user:alice', 'otlp.export', NULL);
INSERT INTO public.audit_trace_ids_2026_11 VALUES ('tr-d8569f202d3b425da8ef8eb1604a83aa', 1795396056625, 1099511627799, 0, 'user:dave', 'trace.start_v3', NULL);
INSERT INTO public.audit_trace_ids_2026_11 VALUES ('tr-d8569f202d3b425da8ef8eb1604a83aa', 1795396056742, 1099511627800, 1, 'user:dave', 'trace.start_v3', NULL);
INSERT INTO public.audit_trace_ids_2026_11 VALUES ('tr-d8569f202d3b425da8ef8eb1604a83aa', 1795396056811, 1099511627801, 0, 'user:dave', 'otlp.export', NULL);
INSERT INTO public.audit_trace_ids_2026_11 VALUES ('tr-d8569f202d3b425da8ef8eb1604a83aa', 1795396056873, 1099511627802, 1, 'user:dave', 'otlp.export', NULL);
INSERT INTO public.audit_trace_ids_2026_11 VALUES ('tr-80c0c8245d55431a987ac5ce16c50c9f', 1795396056925, 1099511627803, 0, 'user:dave', 'trace.start_v3', NULL);
INSERT INTO public.audit_trace_ids_2026_11 VALUES ('tr-80c0c8245d55431a987ac5ce16c50c9f', 1795396057045, 1099511627804, 1, 'user:dave', 'trace.start_v3', NULL);
INSERT INTO public.audit_trace_ids_2026_11 VALUES ('tr-80c0c8245d55431a987ac5ce16c50c9f', 1795396057110, 1099511627805, 0, 'user:dave', 'otlp.export', NULL);
INSERT INTO public.audit_trace_ids_2026_11 VALUES ('tr-80c0c8245d55431a987ac5ce16c50c9f', 1795396057181, 1099511627806, 1, 'user:dave', 'otlp.export', NULL);


--
-- Data for Name: audit_trace_ids_default; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: client_secrets; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: directory; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: grants; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.grants OVERRIDING SYSTEM VALUE VALUES (1, 'group:users', 'workspace:default', 'experiment.create', 'allow', 'default: every user may create; revoke it to restrict', NULL, 'tracegate', 1795396054321);
INSERT INTO public.grants OVERRIDING SYSTEM VALUE VALUES (2, 'group:users', 'workspace:default', 'model.create', 'allow', 'default: every user may create; revoke it to restrict', NULL, 'tracegate', 1795396054321);
INSERT INTO public.grants OVERRIDING SYSTEM VALUE VALUES (3, 'group:users', 'workspace:default', 'token.use', 'allow', 'default: every user may create; revoke it to restrict', NULL, 'tracegate', 1795396054321);
INSERT INTO public.grants OVERRIDING SYSTEM VALUE VALUES (4, 'user:admin', 'experiment:1', 'CAN_MANAGE', 'allow', 'created it', NULL, 'user:admin', 1795396055122);
INSERT INTO public.grants OVERRIDING SYSTEM VALUE VALUES (5, 'user:admin', 'experiment:2', 'CAN_MANAGE', 'allow', 'created it', NULL, 'user:admin', 1795396055358);
INSERT INTO public.grants OVERRIDING SYSTEM VALUE VALUES (6, 'user:alice', 'experiment:1', 'CAN_MANAGE', 'allow', 'demo', NULL, 'demo', 1795396054415);
INSERT INTO public.grants OVERRIDING SYSTEM VALUE VALUES (7, 'group:analysts', 'experiment:1', 'CAN_READ', 'allow', 'demo', NULL, 'demo', 1795396054415);
INSERT INTO public.grants OVERRIDING SYSTEM VALUE VALUES (8, 'service_principal:agent', 'experiment:1', 'CAN_INGEST', 'allow', 'demo', NULL, 'demo', 1795396054415);
INSERT INTO public.grants OVERRIDING SYSTEM VALUE VALUES (9, 'user:erin', 'experiment:1', 'CAN_ASSESS', 'allow', 'demo', NULL, 'demo', 1795396054415);
INSERT INTO public.grants OVERRIDING SYSTEM VALUE VALUES (10, 'user:lena', 'experiment:1', 'CAN_LIST', 'allow', 'demo', NULL, 'demo', 1795396054415);
INSERT INTO public.grants OVERRIDING SYSTEM VALUE VALUES (11, 'user:dave', 'experiment:2', 'CAN_MANAGE', 'allow', 'demo', NULL, 'demo', 1795396054415);


--
-- Data for Name: memberships; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.memberships VALUES ('group:admins', 'user:admin');
INSERT INTO public.memberships VALUES ('group:analysts', 'user:bob');


--
-- Data for Name: passwords; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: policy_changes; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.policy_changes VALUES (1, 1795396054321, 'tracegate', 'grant.add', 'null', '{"id":1,"principal":"group:users","securable":"workspace:default","privilege":"experiment.create","effect":"allow","reason":"default: every user may create; revoke it to restrict","expires_at_ms":null,"granted_by":"tracegate","granted_at_ms":1795396054321}', '[{"edit":"grant","id":1,"principal":"group:users","securable":"workspace:default","privilege":"experiment.create","effect":"allow"}]');
INSERT INTO public.policy_changes VALUES (2, 1795396054321, 'tracegate', 'grant.add', 'null', '{"id":2,"principal":"group:users","securable":"workspace:default","privilege":"model.create","effect":"allow","reason":"default: every user may create; revoke it to restrict","expires_at_ms":null,"granted_by":"tracegate","granted_at_ms":1795396054321}', '[{"edit":"grant","id":2,"principal":"group:users","securable":"workspace:default","privilege":"model.create","effect":"allow"}]');
INSERT INTO public.policy_changes VALUES (3, 1795396054321, 'tracegate', 'grant.add', 'null', '{"id":3,"principal":"group:users","securable":"workspace:default","privilege":"token.use","effect":"allow","reason":"default: every user may create; revoke it to restrict","expires_at_ms":null,"granted_by":"tracegate","granted_at_ms":1795396054321}', '[{"edit":"grant","id":3,"principal":"group:users","securable":"workspace:default","privilege":"token.use","effect":"allow"}]');
INSERT INTO public.policy_changes VALUES (4, 1795396054321, 'tracegate', 'principal.create', 'null', '{"principal":"user:admin"}', '[{"edit":"principal","principal":"user:admin","active":true}]');
INSERT INTO public.policy_changes VALUES (5, 1795396054321, 'tracegate', 'membership.add', 'null', '{"group":"group:admins","member":"user:admin"}', '[{"edit":"join","group":"group:admins","member":"user:admin"}]');
INSERT INTO public.policy_changes VALUES (6, 1795396054415, 'demo', 'principal.create', 'null', '{"principal":"user:alice"}', '[{"edit":"principal","principal":"user:alice","active":true}]');
INSERT INTO public.policy_changes VALUES (7, 1795396054415, 'demo', 'principal.create', 'null', '{"principal":"user:bob"}', '[{"edit":"principal","principal":"user:bob","active":true}]');
INSERT INTO public.policy_changes VALUES (8, 1795396054415, 'demo', 'principal.create', 'null', '{"principal":"service_principal:agent"}', '[{"edit":"principal","principal":"service_principal:agent","active":true}]');
INSERT INTO public.policy_changes VALUES (9, 1795396054415, 'demo', 'principal.create', 'null', '{"principal":"user:erin"}', '[{"edit":"principal","principal":"user:erin","active":true}]');
INSERT INTO public.policy_changes VALUES (10, 1795396054415, 'demo', 'principal.create', 'null', '{"principal":"user:lena"}', '[{"edit":"principal","principal":"user:lena","active":true}]');
INSERT INTO public.policy_changes VALUES (11, 1795396054415, 'demo', 'principal.create', 'null', '{"principal":"user:dave"}', '[{"edit":"principal","principal":"user:dave","active":true}]');
INSERT INTO public.policy_changes VALUES (12, 1795396054415, 'demo', 'principal.create', 'null', '{"principal":"user:carol"}', '[{"edit":"principal","principal":"user:carol","active":true}]');
INSERT INTO public.policy_changes VALUES (13, 1795396054415, 'demo', 'membership.add', 'null', '{"group":"group:analysts","member":"user:bob"}', '[{"edit":"principal","principal":"group:analysts","active":true},{"edit":"join","group":"group:analysts","member":"user:bob"}]');
INSERT INTO public.policy_changes VALUES (14, 1795396055122, 'user:admin', 'grant.add', 'null', '{"id":4,"principal":"user:admin","securable":"experiment:1","privilege":"CAN_MANAGE","effect":"allow","reason":"created it","expires_at_ms":null,"granted_by":"user:admin","granted_at_ms":1795396055122}', '[{"edit":"grant","id":4,"principal":"user:admin","securable":"experiment:1","privilege":"CAN_MANAGE","effect":"allow"}]');
INSERT INTO public.policy_changes VALUES (15, 1795396055358, 'user:admin', 'grant.add', 'null', '{"id":5,"principal":"user:admin","securable":"experiment:2","privilege":"CAN_MANAGE","effect":"allow","reason":"created it","expires_at_ms":null,"granted_by":"user:admin","granted_at_ms":1795396055358}', '[{"edit":"grant","id":5,"principal":"user:admin","securable":"experiment:2","privilege":"CAN_MANAGE","effect":"allow"}]');
INSERT INTO public.policy_changes VALUES (16, 1795396054415, 'demo', 'grant.add', 'null', '{"id":6,"principal":"user:alice","securable":"experiment:1","privilege":"CAN_MANAGE","effect":"allow","reason":"demo","expires_at_ms":null,"granted_by":"demo","granted_at_ms":1795396054415}', '[{"edit":"grant","id":6,"principal":"user:alice","securable":"experiment:1","privilege":"CAN_MANAGE","effect":"allow"}]');
INSERT INTO public.policy_changes VALUES (17, 1795396054415, 'demo', 'grant.add', 'null', '{"id":7,"principal":"group:analysts","securable":"experiment:1","privilege":"CAN_READ","effect":"allow","reason":"demo","expires_at_ms":null,"granted_by":"demo","granted_at_ms":1795396054415}', '[{"edit":"grant","id":7,"principal":"group:analysts","securable":"experiment:1","privilege":"CAN_READ","effect":"allow"}]');
INSERT INTO public.policy_changes VALUES (18, 1795396054415, 'demo', 'grant.add', 'null', '{"id":8,"principal":"service_principal:agent","securable":"experiment:1","privilege":"CAN_INGEST","effect":"allow","reason":"demo","expires_at_ms":null,"granted_by":"demo","granted_at_ms":1795396054415}', '[{"edit":"grant","id":8,"principal":"service_principal:agent","securable":"experiment:1","privilege":"CAN_INGEST","effect":"allow"}]');
INSERT INTO public.policy_changes VALUES (19, 1795396054415, 'demo', 'grant.add', 'null', '{"id":9,"principal":"user:erin","securable":"experiment:1","privilege":"CAN_ASSESS","effect":"allow","reason":"demo","expires_at_ms":null,"granted_by":"demo","granted_at_ms":1795396054415}', '[{"edit":"grant","id":9,"principal":"user:erin","securable":"experiment:1","privilege":"CAN_ASSESS","effect":"allow"}]');
INSERT INTO public.policy_changes VALUES (20, 1795396054415, 'demo', 'grant.add', 'null', '{"id":10,"principal":"user:lena","securable":"experiment:1","privilege":"CAN_LIST","effect":"allow","reason":"demo","expires_at_ms":null,"granted_by":"demo","granted_at_ms":1795396054415}', '[{"edit":"grant","id":10,"principal":"user:lena","securable":"experiment:1","privilege":"CAN_LIST","effect":"allow"}]');
INSERT INTO public.policy_changes VALUES (21, 1795396054415, 'demo', 'grant.add', 'null', '{"id":11,"principal":"user:dave","securable":"experiment:2","privilege":"CAN_MANAGE","effect":"allow","reason":"demo","expires_at_ms":null,"granted_by":"demo","granted_at_ms":1795396054415}', '[{"edit":"grant","id":11,"principal":"user:dave","securable":"experiment:2","privilege":"CAN_MANAGE","effect":"allow"}]');


--
-- Data for Name: policy_head; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.policy_head VALUES (1, 21);


--
-- Data for Name: principals; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.principals VALUES ('group:admins', 1, 0, 'tracegate', NULL);
INSERT INTO public.principals VALUES ('group:users', 1, 0, 'tracegate', NULL);
INSERT INTO public.principals VALUES ('user:admin', 1, 1795396054321, 'tracegate', NULL);
INSERT INTO public.principals VALUES ('user:alice', 1, 1795396054415, 'demo', NULL);
INSERT INTO public.principals VALUES ('user:bob', 1, 1795396054415, 'demo', NULL);
INSERT INTO public.principals VALUES ('service_principal:agent', 1, 1795396054415, 'demo', NULL);
INSERT INTO public.principals VALUES ('user:erin', 1, 1795396054415, 'demo', NULL);
INSERT INTO public.principals VALUES ('user:lena', 1, 1795396054415, 'demo', NULL);
INSERT INTO public.principals VALUES ('user:dave', 1, 1795396054415, 'demo', NULL);
INSERT INTO public.principals VALUES ('user:carol', 1, 1795396054415, 'demo', NULL);
INSERT INTO public.principals VALUES ('group:analysts', 1, 1795396054415, 'demo', NULL);


--
-- Data for Name: secrets; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.secrets VALUES ('token-hash', '\x448d9d78124f9f0ac31cc8f3e91e79991dc66b94b1178cf2f6beb81a871a42fc');
INSERT INTO public.secrets VALUES ('session-hash', '\x8a4c15bbb012284a65f98056bfd8a473bb26d75ec749edae5cf99a47d2be2963');
INSERT INTO public.secrets VALUES ('session-tokens', '\xe03943c6ad8851685df083c8b9466fac4cb4a84813e603489cae3d9bfc5c7889');
INSERT INTO public.secrets VALUES ('client-secret-hash', '\xbe7bb727d329e67115f02d1df9a1e0df213848fb80235dee3046a1cfbf19e481');
INSERT INTO public.secrets VALUES ('page-tokens', '\xe19878214e438a194d0ebb70aa9769775201080e2d28ef46ed8c508c4ab264d6');
INSERT INTO public.secrets VALUES ('audit-subjects', '\x75a583f0482952e1485bb47e8f5f7a5470c730635e144a0f983612d010240346');


--
-- Data for Name: securables; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: sessions; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: tokens; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.tokens VALUES ('tok_01a205f1ad757219b60282012d184447', '\x0a8587b72f672a1e9cc5441550d43e6af6b45a5e45047d660cb62582ddf843f5', 'user:admin', 'first administrator', 1795396054389, 'tracegate', NULL, NULL, NULL, 'personal', NULL, NULL);
INSERT INTO public.tokens VALUES ('tok_01a205f1adcd762aa31cfec00dca09b4', '\xcddc4e26e729984fb9d465e3227fc5c06a5566de81072eeae2d96ae3c0ce469f', 'user:bob', 'demo', 1795396054477, 'demo', NULL, NULL, NULL, 'personal', NULL, NULL);
INSERT INTO public.tokens VALUES ('tok_01a205f1ade077f08d316c5dfd2189e4', '\x8c6f4e91115b198c5130436a664c8ee8356987d7936024d35895bed87e97295b', 'service_principal:agent', 'demo', 1795396054496, 'demo', NULL, NULL, NULL, 'personal', NULL, NULL);
INSERT INTO public.tokens VALUES ('tok_01a205f1adea74069b022d0c2820fe76', '\x02a1b3630051bb855c3839666292b5245105028acd77a63ed5650a2c8fbe23d3', 'user:erin', 'demo', 1795396054506, 'demo', NULL, NULL, NULL, 'personal', NULL, NULL);
INSERT INTO public.tokens VALUES ('tok_01a205f1adfb7422922a8da409c30ff5', '\x499fa976580fb7c9d48482fdc661bbb1f59e91739641f415cc10866b44fa6caf', 'user:lena', 'demo', 1795396054523, 'demo', NULL, NULL, NULL, 'personal', NULL, NULL);
INSERT INTO public.tokens VALUES ('tok_01a205f1ae187191a9eb8297a186fd63', '\x4b6984bd41a8393800efd65cae77a97fc4a2794bc804ea8b57c9d45b4e23b260', 'user:carol', 'demo', 1795396054552, 'demo', NULL, NULL, NULL, 'personal', NULL, NULL);
INSERT INTO public.tokens VALUES ('tok_01a205f1ada6733bab46191791110382', '\x07e9cfd4919b129ad76c9c8441036a3e95870607c890ca8c3d74b907aa2adc47', 'user:admin', 'demo', 1795396054438, 'demo', NULL, 1795396054739, NULL, 'personal', NULL, NULL);
INSERT INTO public.tokens VALUES ('tok_01a205f1adaa732b8548211b2a250974', '\x90fc1fdf327811914aa8ccc2691645b22194e604a799286f5a06a61e557e2c5c', 'user:alice', 'demo', 1795396054442, 'demo', NULL, 1795396055558, NULL, 'personal', NULL, NULL);
INSERT INTO public.tokens VALUES ('tok_01a205f1ae0973798c74d99901a05b5d', '\x1452fada91089f9ff6c9310b632d9210079d621669bc2dd55e9fb02fd3eb7dcd', 'user:dave', 'demo', 1795396054537, 'demo', NULL, 1795396056644, NULL, 'personal', NULL, NULL);


--
-- Data for Name: trace_claims; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.trace_claims VALUES ('tr-bbbfff63287046c6828166b707fefbba', '1', 'user:alice', 1795396055616);
INSERT INTO public.trace_claims VALUES ('tr-bf68d522c0f3493885215c57d55fbfaf', '1', 'user:alice', 1795396056006);
INSERT INTO public.trace_claims VALUES ('tr-ee658561b1994afa91c47148ed38bfa8', '1', 'user:alice', 1795396056344);
INSERT INTO public.trace_claims VALUES ('tr-d8569f202d3b425da8ef8eb1604a83aa', '2', 'user:dave', 1795396056684);
INSERT INTO public.trace_claims VALUES ('tr-80c0c8245d55431a987ac5ce16c50c9f', '2', 'user:dave', 1795396056960);


--
-- Data for Name: usage_counts; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: usage_limits; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Name: audit_positions_number_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.audit_positions_number_seq', 1, true);


--
-- Name: directory_number_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.directory_number_seq', 1, false);


--
-- Name: grants_id_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.grants_id_seq', 11, true);


--
-- Name: _sqlx_migrations _sqlx_migrations_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public._sqlx_migrations
    ADD CONSTRAINT _sqlx_migrations_pkey PRIMARY KEY (version);


--
-- Name: access_requests access_requests_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.access_requests
    ADD CONSTRAINT access_requests_pkey PRIMARY KEY (id);


--
-- Name: access_reviews access_reviews_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.access_reviews
    ADD CONSTRAINT access_reviews_pkey PRIMARY KEY (grant_id);


--
-- Name: artifact_roots artifact_roots_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.artifact_roots
    ADD CONSTRAINT artifact_roots_pkey PRIMARY KEY (path);


--
-- Name: audit_addresses audit_addresses_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit_addresses
    ADD CONSTRAINT audit_addresses_pkey PRIMARY KEY (principal, address);


--
-- Name: audit_days audit_days_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit_days
    ADD CONSTRAINT audit_days_pkey PRIMARY KEY (day, principal, securable, operation, decision);


--
-- Name: audit_events audit_events_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit_events
    ADD CONSTRAINT audit_events_pkey PRIMARY KEY (id, time_ms);


--
-- Name: audit_events_2026_11 audit_events_2026_11_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit_events_2026_11
    ADD CONSTRAINT audit_events_2026_11_pkey PRIMARY KEY (id, time_ms);


--
-- Name: audit_events_default audit_events_default_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit_events_default
    ADD CONSTRAINT audit_events_default_pkey PRIMARY KEY (id, time_ms);


--
-- Name: audit_grant_uses audit_grant_uses_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit_grant_uses
    ADD CONSTRAINT audit_grant_uses_pkey PRIMARY KEY (grant_id);


--
-- Name: audit_migrations audit_migrations_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit_migrations
    ADD CONSTRAINT audit_migrations_pkey PRIMARY KEY (version);


--
-- Name: audit_positions audit_positions_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit_positions
    ADD CONSTRAINT audit_positions_pkey PRIMARY KEY (replica);


--
-- Name: audit_securables audit_securables_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit_securables
    ADD CONSTRAINT audit_securables_pkey PRIMARY KEY (securable, time_ms, id);


--
-- Name: audit_securables_2026_11 audit_securables_2026_11_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit_securables_2026_11
    ADD CONSTRAINT audit_securables_2026_11_pkey PRIMARY KEY (securable, time_ms, id);


--
-- Name: audit_securables_default audit_securables_default_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit_securables_default
    ADD CONSTRAINT audit_securables_default_pkey PRIMARY KEY (securable, time_ms, id);


--
-- Name: audit_subjects audit_subjects_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit_subjects
    ADD CONSTRAINT audit_subjects_pkey PRIMARY KEY (key, value, trace_id);


--
-- Name: audit_trace_ids audit_trace_ids_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit_trace_ids
    ADD CONSTRAINT audit_trace_ids_pkey PRIMARY KEY (trace_id, time_ms, id);


--
-- Name: audit_trace_ids_2026_11 audit_trace_ids_2026_11_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit_trace_ids_2026_11
    ADD CONSTRAINT audit_trace_ids_2026_11_pkey PRIMARY KEY (trace_id, time_ms, id);


--
-- Name: audit_trace_ids_default audit_trace_ids_default_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.audit_trace_ids_default
    ADD CONSTRAINT audit_trace_ids_default_pkey PRIMARY KEY (trace_id, time_ms, id);


--
-- Name: client_secrets client_secrets_hash_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.client_secrets
    ADD CONSTRAINT client_secrets_hash_key UNIQUE (hash);


--
-- Name: client_secrets client_secrets_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.client_secrets
    ADD CONSTRAINT client_secrets_pkey PRIMARY KEY (id);


--
-- Name: directory directory_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.directory
    ADD CONSTRAINT directory_pkey PRIMARY KEY (number);


--
-- Name: directory directory_principal_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.directory
    ADD CONSTRAINT directory_principal_key UNIQUE (principal);


--
-- Name: grants grants_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.grants
    ADD CONSTRAINT grants_pkey PRIMARY KEY (id);


--
-- Name: grants grants_principal_securable_privilege_effect_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.grants
    ADD CONSTRAINT grants_principal_securable_privilege_effect_key UNIQUE (principal, securable, privilege, effect);


--
-- Name: memberships memberships_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.memberships
    ADD CONSTRAINT memberships_pkey PRIMARY KEY (group_id, member_id);


--
-- Name: passwords passwords_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.passwords
    ADD CONSTRAINT passwords_pkey PRIMARY KEY (principal);


--
-- Name: policy_changes policy_changes_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.policy_changes
    ADD CONSTRAINT policy_changes_pkey PRIMARY KEY (version);


--
-- Name: policy_head policy_head_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.policy_head
    ADD CONSTRAINT policy_head_pkey PRIMARY KEY (id);


--
-- Name: principals principals_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.principals
    ADD CONSTRAINT principals_pkey PRIMARY KEY (id);


--
-- Name: secrets secrets_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.secrets
    ADD CONSTRAINT secrets_pkey PRIMARY KEY (name);


--
-- Name: securables securables_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.securables
    ADD CONSTRAINT securables_pkey PRIMARY KEY (id);


--
-- Name: sessions sessions_hash_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_hash_key UNIQUE (hash);


--
-- Name: sessions sessions_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_pkey PRIMARY KEY (id);


--
-- Name: tokens tokens_hash_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tokens
    ADD CONSTRAINT tokens_hash_key UNIQUE (hash);


--
-- Name: tokens tokens_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tokens
    ADD CONSTRAINT tokens_pkey PRIMARY KEY (id);


--
-- Name: trace_claims trace_claims_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.trace_claims
    ADD CONSTRAINT trace_claims_pkey PRIMARY KEY (trace);


--
-- Name: usage_counts usage_counts_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.usage_counts
    ADD CONSTRAINT usage_counts_pkey PRIMARY KEY (subject, span_start_ms);


--
-- Name: usage_limits usage_limits_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.usage_limits
    ADD CONSTRAINT usage_limits_pkey PRIMARY KEY (securable, principal, name);


--
-- Name: access_requests_by_principal; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX access_requests_by_principal ON public.access_requests USING btree (principal);


--
-- Name: access_requests_by_securable; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX access_requests_by_securable ON public.access_requests USING btree (securable, state);


--
-- Name: audit_addresses_by_time; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX audit_addresses_by_time ON public.audit_addresses USING btree (first_ms, principal, address);


--
-- Name: audit_events_by_actor; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX audit_events_by_actor ON ONLY public.audit_events USING btree (actor, time_ms) WHERE (actor IS NOT NULL);


--
-- Name: audit_events_2026_11_actor_time_ms_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX audit_events_2026_11_actor_time_ms_idx ON public.audit_events_2026_11 USING btree (actor, time_ms) WHERE (actor IS NOT NULL);


--
-- Name: audit_events_by_decision_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX audit_events_by_decision_id ON ONLY public.audit_events USING btree (decision_id);


--
-- Name: audit_events_2026_11_decision_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX audit_events_2026_11_decision_id_idx ON public.audit_events_2026_11 USING btree (decision_id);


--
-- Name: audit_events_by_operation; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX audit_events_by_operation ON ONLY public.audit_events USING btree (operation, time_ms, id);


--
-- Name: audit_events_2026_11_operation_time_ms_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX audit_events_2026_11_operation_time_ms_id_idx ON public.audit_events_2026_11 USING btree (operation, time_ms, id);


--
-- Name: audit_events_by_principal; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX audit_events_by_principal ON ONLY public.audit_events USING btree (principal, time_ms, id);


--
-- Name: audit_events_2026_11_principal_time_ms_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX audit_events_2026_11_principal_time_ms_id_idx ON public.audit_events_2026_11 USING btree (principal, time_ms, id);


--
-- Name: audit_events_denied_by_principal; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX audit_events_denied_by_principal ON ONLY public.audit_events USING btree (principal, time_ms, id) WHERE (decision = 'deny'::text);


--
-- Name: audit_events_2026_11_principal_time_ms_id_idx1; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX audit_events_2026_11_principal_time_ms_id_idx1 ON public.audit_events_2026_11 USING btree (principal, time_ms, id) WHERE (decision = 'deny'::text);


--
-- Name: audit_events_by_time; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX audit_events_by_time ON ONLY public.audit_events USING btree (time_ms, id);


--
-- Name: audit_events_2026_11_time_ms_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX audit_events_2026_11_time_ms_id_idx ON public.audit_events_2026_11 USING btree (time_ms, id);


--
-- Name: audit_events_denied; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX audit_events_denied ON ONLY public.audit_events USING btree (time_ms, id) WHERE (decision = 'deny'::text);


--
-- Name: audit_events_2026_11_time_ms_id_idx1; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX audit_events_2026_11_time_ms_id_idx1 ON public.audit_events_2026_11 USING btree (time_ms, id) WHERE (decision = 'deny'::text);


--
-- Name: audit_events_policy; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX audit_events_policy ON ONLY public.audit_events USING btree (time_ms, id) WHERE (kind = 'policy_change'::text);


--
-- Name: audit_events_2026_11_time_ms_id_idx2; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX audit_events_2026_11_time_ms_id_idx2 ON public.audit_events_2026_11 USING btree (time_ms, id) WHERE (kind = 'policy_change'::text);


--
-- Name: audit_events_unidentified; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX audit_events_unidentified ON ONLY public.audit_events USING btree (time_ms, id) WHERE (status = 401);


--
-- Name: audit_events_2026_11_time_ms_id_idx3; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX audit_events_2026_11_time_ms_id_idx3 ON public.audit_events_2026_11 USING btree (time_ms, id) WHERE (status = 401);


--
-- Name: audit_events_default_actor_time_ms_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX audit_events_default_actor_time_ms_idx ON public.audit_events_default USING btree (actor, time_ms) WHERE (actor IS NOT NULL);


--
-- Name: audit_events_default_decision_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX audit_events_default_decision_id_idx ON public.audit_events_default USING btree (decision_id);


--
-- Name: audit_events_default_operation_time_ms_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX audit_events_default_operation_time_ms_id_idx ON public.audit_events_default USING btree (operation, time_ms, id);


--
-- Name: audit_events_default_principal_time_ms_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX audit_events_default_principal_time_ms_id_idx ON public.audit_events_default USING btree (principal, time_ms, id);


--
-- Name: audit_events_default_principal_time_ms_id_idx1; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX audit_events_default_principal_time_ms_id_idx1 ON public.audit_events_default USING btree (principal, time_ms, id) WHERE (decision = 'deny'::text);


--
-- Name: audit_events_default_time_ms_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX audit_events_default_time_ms_id_idx ON public.audit_events_default USING btree (time_ms, id);


--
-- Name: audit_events_default_time_ms_id_idx1; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX audit_events_default_time_ms_id_idx1 ON public.audit_events_default USING btree (time_ms, id) WHERE (decision = 'deny'::text);


--
-- Name: audit_events_default_time_ms_id_idx2; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX audit_events_default_time_ms_id_idx2 ON public.audit_events_default USING btree (time_ms, id) WHERE (kind = 'policy_change'::text);


--
-- Name: audit_events_default_time_ms_id_idx3; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX audit_events_default_time_ms_id_idx3 ON public.audit_events_default USING btree (time_ms, id) WHERE (status = 401);


--
-- Name: audit_positions_by_number; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX audit_positions_by_number ON public.audit_positions USING btree (number);


--
-- Name: client_secrets_by_principal; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX client_secrets_by_principal ON public.client_secrets USING btree (principal);


--
-- Name: grants_by_securable; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX grants_by_securable ON public.grants USING btree (securable);


--
-- Name: grants_one_owner; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX grants_one_owner ON public.grants USING btree (securable) WHERE (privilege = 'OWNER'::text);


--
-- Name: memberships_by_member; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX memberships_by_member ON public.memberships USING btree (member_id);


--
-- Name: sessions_by_end; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX sessions_by_end ON public.sessions USING btree (expires_at_ms);


--
-- Name: sessions_by_principal; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX sessions_by_principal ON public.sessions USING btree (principal);


--
-- Name: sessions_by_subject; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX sessions_by_subject ON public.sessions USING btree (issuer, subject);


--
-- Name: tokens_by_end; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX tokens_by_end ON public.tokens USING btree (expires_at_ms) WHERE (kind = 'oauth'::text);


--
-- Name: tokens_by_principal; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX tokens_by_principal ON public.tokens USING btree (principal);


--
-- Name: tokens_by_source; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX tokens_by_source ON public.tokens USING btree (source) WHERE (source IS NOT NULL);


--
-- Name: audit_events_2026_11_actor_time_ms_idx; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.audit_events_by_actor ATTACH PARTITION public.audit_events_2026_11_actor_time_ms_idx;


--
-- Name: audit_events_2026_11_decision_id_idx; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.audit_events_by_decision_id ATTACH PARTITION public.audit_events_2026_11_decision_id_idx;


--
-- Name: audit_events_2026_11_operation_time_ms_id_idx; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.audit_events_by_operation ATTACH PARTITION public.audit_events_2026_11_operation_time_ms_id_idx;


--
-- Name: audit_events_2026_11_pkey; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.audit_events_pkey ATTACH PARTITION public.audit_events_2026_11_pkey;


--
-- Name: audit_events_2026_11_principal_time_ms_id_idx; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.audit_events_by_principal ATTACH PARTITION public.audit_events_2026_11_principal_time_ms_id_idx;


--
-- Name: audit_events_2026_11_principal_time_ms_id_idx1; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.audit_events_denied_by_principal ATTACH PARTITION public.audit_events_2026_11_principal_time_ms_id_idx1;


--
-- Name: audit_events_2026_11_time_ms_id_idx; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.audit_events_by_time ATTACH PARTITION public.audit_events_2026_11_time_ms_id_idx;


--
-- Name: audit_events_2026_11_time_ms_id_idx1; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.audit_events_denied ATTACH PARTITION public.audit_events_2026_11_time_ms_id_idx1;


--
-- Name: audit_events_2026_11_time_ms_id_idx2; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.audit_events_policy ATTACH PARTITION public.audit_events_2026_11_time_ms_id_idx2;


--
-- Name: audit_events_2026_11_time_ms_id_idx3; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.audit_events_unidentified ATTACH PARTITION public.audit_events_2026_11_time_ms_id_idx3;


--
-- Name: audit_events_default_actor_time_ms_idx; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.audit_events_by_actor ATTACH PARTITION public.audit_events_default_actor_time_ms_idx;


--
-- Name: audit_events_default_decision_id_idx; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.audit_events_by_decision_id ATTACH PARTITION public.audit_events_default_decision_id_idx;


--
-- Name: audit_events_default_operation_time_ms_id_idx; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.audit_events_by_operation ATTACH PARTITION public.audit_events_default_operation_time_ms_id_idx;


--
-- Name: audit_events_default_pkey; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.audit_events_pkey ATTACH PARTITION public.audit_events_default_pkey;


--
-- Name: audit_events_default_principal_time_ms_id_idx; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.audit_events_by_principal ATTACH PARTITION public.audit_events_default_principal_time_ms_id_idx;


--
-- Name: audit_events_default_principal_time_ms_id_idx1; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.audit_events_denied_by_principal ATTACH PARTITION public.audit_events_default_principal_time_ms_id_idx1;


--
-- Name: audit_events_default_time_ms_id_idx; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.audit_events_by_time ATTACH PARTITION public.audit_events_default_time_ms_id_idx;


--
-- Name: audit_events_default_time_ms_id_idx1; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.audit_events_denied ATTACH PARTITION public.audit_events_default_time_ms_id_idx1;


--
-- Name: audit_events_default_time_ms_id_idx2; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.audit_events_policy ATTACH PARTITION public.audit_events_default_time_ms_id_idx2;


--
-- Name: audit_events_default_time_ms_id_idx3; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.audit_events_unidentified ATTACH PARTITION public.audit_events_default_time_ms_id_idx3;


--
-- Name: audit_securables_2026_11_pkey; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.audit_securables_pkey ATTACH PARTITION public.audit_securables_2026_11_pkey;


--
-- Name: audit_securables_default_pkey; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.audit_securables_pkey ATTACH PARTITION public.audit_securables_default_pkey;


--
-- Name: audit_trace_ids_2026_11_pkey; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.audit_trace_ids_pkey ATTACH PARTITION public.audit_trace_ids_2026_11_pkey;


--
-- Name: audit_trace_ids_default_pkey; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.audit_trace_ids_pkey ATTACH PARTITION public.audit_trace_ids_default_pkey;


--
-- Name: access_requests access_requests_principal_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.access_requests
    ADD CONSTRAINT access_requests_principal_fkey FOREIGN KEY (principal) REFERENCES public.principals(id);


--
-- Name: client_secrets client_secrets_principal_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.client_secrets
    ADD CONSTRAINT client_secrets_principal_fkey FOREIGN KEY (principal) REFERENCES public.principals(id);


--
-- Name: directory directory_principal_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.directory
    ADD CONSTRAINT directory_principal_fkey FOREIGN KEY (principal) REFERENCES public.principals(id);


--
-- Name: grants grants_principal_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.grants
    ADD CONSTRAINT grants_principal_fkey FOREIGN KEY (principal) REFERENCES public.principals(id);


--
-- Name: memberships memberships_group_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.memberships
    ADD CONSTRAINT memberships_group_id_fkey FOREIGN KEY (group_id) REFERENCES public.principals(id);


--
-- Name: memberships memberships_member_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.memberships
    ADD CONSTRAINT memberships_member_id_fkey FOREIGN KEY (member_id) REFERENCES public.principals(id);


--
-- Name: passwords passwords_principal_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.passwords
    ADD CONSTRAINT passwords_principal_fkey FOREIGN KEY (principal) REFERENCES public.principals(id);


--
-- Name: sessions sessions_principal_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_principal_fkey FOREIGN KEY (principal) REFERENCES public.principals(id);


--
-- Name: tokens tokens_principal_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tokens
    ADD CONSTRAINT tokens_principal_fkey FOREIGN KEY (principal) REFERENCES public.principals(id);


--
-- PostgreSQL database dump complete
--


