//! Text to syntax: what may be too large or too deep is found before anything recurses over it.

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::DatabricksDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::reader::Reader;
use super::{Query, SqlError, Statement, allowed, commands};

/// Bytes of a statement's text.
const TEXT: usize = 16 * 1024 * 1024;
/// Open brackets at one place.
const BRACKETS: usize = 64;
/// Operators of a statement. A chain of them is as deep a tree as it is long.
const OPERATORS: usize = 4_000;
/// Words that begin a type which has others in it; the parser sets no bound to how deep.
const TYPES: usize = 200;
/// Parts of UNION, EXCEPT and INTERSECT.
const SET_OPERATIONS: usize = 100;
/// How deep the parser may call itself.
const RECURSION: usize = 120;
/// Stack of the thread that reads. It is reserved, not used, unless a statement is as deep as it may be.
const STACK: usize = 256 * 1024 * 1024;

/// A query as it is planned.
pub(super) struct Parsed {
    pub query: ast::Query,
    pub explain: bool,
}

pub(super) fn parse(text: &str) -> Result<Statement, SqlError> {
    deep(|| {
        let tokens = tokens(text)?;
        if is_query(&tokens) {
            query_of(tokens)?;
            return Ok(Statement::Query(Query { text: text.to_owned() }));
        }
        commands::read(text, tokens).map(Statement::Command)
    })
}

/// Reads the text of a query, once more or of a view.
pub(super) fn query(text: &str) -> Result<Parsed, SqlError> {
    deep(|| {
        let tokens = tokens(text)?;
        if !is_query(&tokens) {
            return Err(SqlError::Statement("this is no query".to_owned()));
        }
        query_of(tokens)
    })
}

/// Reads one expression: the body of a function.
pub(super) fn expression(text: &str) -> Result<ast::Expr, SqlError> {
    deep(|| {
        let mut parser = parser(tokens(text)?);
        let expression = parser.parse_expr().map_err(wrong)?;
        end(&mut parser)?;
        allowed::expression(&expression)?;
        Ok(expression)
    })
}

/// Reads a type, such as that of a parameter.
pub(super) fn data_type(text: &str) -> Result<ast::DataType, SqlError> {
    deep(|| {
        let mut parser = parser(tokens(text)?);
        let read = parser.parse_data_type().map_err(wrong)?;
        end(&mut parser)?;
        Ok(read)
    })
}

/// Runs on a stack of its own: how deep a syntax tree is, is known only when it is there.
fn deep<T: Send>(work: impl FnOnce() -> Result<T, SqlError> + Send) -> Result<T, SqlError> {
    let unreadable = || SqlError::Internal("the statement could not be read".to_owned());
    std::thread::scope(|scope| {
        let thread =
            std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work).map_err(|_| unreadable())?;
        thread.join().unwrap_or_else(|_| Err(unreadable()))
    })
}

fn parser(tokens: Vec<TokenWithSpan>) -> Parser<'static> {
    Parser::new(&DatabricksDialect {}).with_recursion_limit(RECURSION).with_tokens_with_locations(tokens)
}

fn query_of(tokens: Vec<TokenWithSpan>) -> Result<Parsed, SqlError> {
    let mut parser = parser(tokens);
    let statement = parser.parse_statement().map_err(wrong)?;
    end(&mut parser)?;
    let (statement, explain) = match statement {
        ast::Statement::Explain { analyze, verbose, query_plan, estimate, statement, format, options, .. } => {
            if analyze || verbose || query_plan || estimate || format.is_some() || options.is_some() {
                return Err(SqlError::Statement(
                    "EXPLAIN shows the logical plan alone here: ANALYZE, VERBOSE and other forms are not done"
                        .to_owned(),
                ));
            }
            (*statement, true)
        }
        statement => (statement, false),
    };
    let ast::Statement::Query(query) = statement else {
        return Err(SqlError::Statement("this is not done here: only queries are run and explained".to_owned()));
    };
    allowed::query(&query)?;
    Ok(Parsed { query: *query, explain })
}

/// Nothing but semicolons may follow.
fn end(parser: &mut Parser<'_>) -> Result<(), SqlError> {
    loop {
        match parser.next_token().token {
            Token::EOF => return Ok(()),
            Token::SemiColon => (),
            token => {
                return Err(SqlError::Statement(format!(
                    "[PARSE_SYNTAX_ERROR] `{}` is not expected here; one statement is run at a time",
                    short(&token.to_string())
                )));
            }
        }
    }
}

/// Whether it begins as something that only reads does.
fn is_query(tokens: &[TokenWithSpan]) -> bool {
    let mut reader = Reader::new(tokens);
    while reader.symbol(&Token::LParen) {}
    reader.any(&["SELECT", "WITH", "VALUES", "TABLE", "EXPLAIN", "FROM"])
        && !(reader.word_is(1, "EXTENDED") && reader.word_is(0, "TABLE"))
}

/// The words of a text, without comments and space, unless they are too many to be safe.
fn tokens(text: &str) -> Result<Vec<TokenWithSpan>, SqlError> {
    if text.len() > TEXT {
        return Err(SqlError::Statement(format!("the statement is longer than {TEXT} bytes")));
    }
    let tokens = Tokenizer::new(&DatabricksDialect {}, text)
        .tokenize_with_location()
        .map_err(|error| SqlError::Statement(format!("[PARSE_SYNTAX_ERROR] {}", short(&error.to_string()))))?;
    let (mut open, mut operators, mut sets, mut types) = (0usize, 0usize, 0usize, 0usize);
    let mut listed = true;
    let mut kept = Vec::with_capacity(tokens.len());
    for token in tokens {
        match &token.token {
            Token::Whitespace(_) => continue,
            Token::LParen | Token::LBracket | Token::LBrace => open += 1,
            Token::RParen | Token::RBracket | Token::RBrace => open = open.saturating_sub(1),
            Token::Comma | Token::Period | Token::SemiColon | Token::EOF => (),
            Token::Number(..) | Token::SingleQuotedString(_) | Token::DoubleQuotedString(_) => (),
            Token::Word(word) => match word.keyword {
                Keyword::ARRAY | Keyword::STRUCT | Keyword::MAP => types += 1,
                Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::MINUS => sets += 1,
                Keyword::AND
                | Keyword::OR
                | Keyword::NOT
                | Keyword::CASE
                | Keyword::IS
                | Keyword::IN
                | Keyword::LIKE
                | Keyword::BETWEEN
                | Keyword::JOIN => operators += 1,
                _ => (),
            },
            // A sign before a number of a list makes nothing deeper.
            Token::Minus if listed => (),
            _ => operators += 1,
        }
        listed = matches!(token.token, Token::Comma | Token::LParen);
        if open > BRACKETS {
            return Err(too_much(format!("brackets are nested more than {BRACKETS} deep")));
        }
        if operators > OPERATORS {
            return Err(too_much(format!("it has more than {OPERATORS} operators")));
        }
        if types > TYPES {
            return Err(too_much(format!("it has more than {TYPES} lists, structs and maps")));
        }
        if sets > SET_OPERATIONS {
            return Err(too_much(format!("it unites more than {SET_OPERATIONS} queries")));
        }
        kept.push(token);
    }
    Ok(kept)
}

fn too_much(what: String) -> SqlError {
    SqlError::Statement(format!("the statement is too complex: {what}"))
}

pub(super) fn wrong(error: datafusion::sql::sqlparser::parser::ParserError) -> SqlError {
    use datafusion::sql::sqlparser::parser::ParserError;
    let text = match error {
        ParserError::RecursionLimitExceeded => return too_much("it is nested too deep".to_owned()),
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => text,
    };
    SqlError::Statement(format!("[PARSE_SYNTAX_ERROR] {}", short(&text)))
}

/// Enough of a text to be found again in the statement.
pub(super) fn short(text: &str) -> String {
    const ENOUGH: usize = 200;
    match text.char_indices().nth(ENOUGH) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}
