//! Runs a pickle's words over a stack of plain values.

use super::{MAX_PICKLE_BYTES, MAX_VALUES, Object, Pickle, PickleError, Value};
use std::collections::HashMap;

type Result<T> = std::result::Result<T, PickleError>;

/// Reads one value; bytes behind it are passed over, as Python does.
pub(crate) fn read(bytes: &[u8]) -> Result<Pickle> {
    if bytes.len() > MAX_PICKLE_BYTES {
        return Err(PickleError::TooLarge);
    }
    let mut machine = Machine {
        bytes,
        at: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        objects: Vec::new(),
        values: 0,
    };
    let root = machine.run()?;
    Ok(Pickle {
        objects: machine.objects,
        root,
    })
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    objects: Vec<Object>,
    /// Values pushed so far, a bound on what all objects hold.
    values: usize,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Value> {
        loop {
            let at = self.at;
            let word = self.take(1)?[0];
            match word {
                // PROTO and FRAME say nothing that matters here.
                0x80 => drop(self.take(1)?),
                0x95 => drop(self.take(8)?),
                b'.' => return self.pop(),
                b'N' => self.push(Value::None)?,
                0x88 => self.push(Value::Bool(true))?,
                0x89 => self.push(Value::Bool(false))?,
                b'J' => {
                    let number = i32::from_le_bytes(self.array()?);
                    self.push(Value::Int(number.into()))?;
                }
                b'K' => {
                    let [number] = self.array()?;
                    self.push(Value::Int(number.into()))?;
                }
                b'M' => {
                    let number = u16::from_le_bytes(self.array()?);
                    self.push(Value::Int(number.into()))?;
                }
                0x8a => self.long()?,
                b'G' => {
                    let number = f64::from_be_bytes(self.array()?);
                    self.push(Value::Float(number))?;
                }
                b'U' | 0x8c => {
                    let [length] = self.array()?;
                    self.text(length.into())?;
                }
                b'T' | b'X' => {
                    let length = u32::from_le_bytes(self.array()?);
                    self.text(length as usize)?;
                }
                b'C' => {
                    let [length] = self.array()?;
                    self.raw(length.into())?;
                }
                b'B' => {
                    let length = u32::from_le_bytes(self.array()?);
                    self.raw(length as usize)?;
                }
                b'(' => {
                    self.marks.push(self.stack.len());
                    self.count(1)?;
                }
                b']' => self.push_object(Object::List(Vec::new()))?,
                b'}' => self.push_object(Object::Dict(Vec::new()))?,
                b')' => self.push_object(Object::Tuple(Vec::new()))?,
                b'l' => {
                    let items = self.since_mark()?;
                    self.push_object(Object::List(items))?;
                }
                b't' => {
                    let items = self.since_mark()?;
                    self.push_object(Object::Tuple(items))?;
                }
                0x85..=0x87 => {
                    let count = usize::from(word - 0x84);
                    let from = self.stack.len().checked_sub(count).ok_or(PickleError::Stack)?;
                    let items = self.split_stack(from)?;
                    self.push_object(Object::Tuple(items))?;
                }
                b'a' => {
                    let item = self.pop()?;
                    self.list()?.push(item);
                }
                b'e' => {
                    let items = self.since_mark()?;
                    self.list()?.extend(items);
                }
                b's' => {
                    let value = self.pop()?;
                    let key = self.pop()?;
                    self.dict()?.push((key, value));
                }
                b'u' => {
                    let items = self.since_mark()?;
                    let (pairs, rest) = items.as_chunks::<2>();
                    if !rest.is_empty() {
                        return Err(PickleError::Stack);
                    }
                    self.dict()?
                        .extend(pairs.iter().map(|[key, value]| (*key, *value)));
                }
                b'q' => {
                    let [index] = self.array()?;
                    self.remember(index.into())?;
                }
                b'r' => {
                    let index = u32::from_le_bytes(self.array()?);
                    self.remember(index)?;
                }
                0x94 => self.remember(self.memo.len() as u32)?,
                b'h' => {
                    let [index] = self.array()?;
                    self.recall(index.into())?;
                }
                b'j' => {
                    let index = u32::from_le_bytes(self.array()?);
                    self.recall(index)?;
                }
                b'c' => {
                    let module = self.line()?;
                    let name = self.line()?;
                    self.named(&module, &name)?;
                }
                0x93 => {
                    let name = self.pop_text()?;
                    let module = self.pop_text()?;
                    self.named(&module, &name)?;
                }
                b'R' => self.make_array()?,
                word => return Err(PickleError::Word { word, at }),
            }
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let (taken, _) = rest.split_at_checked(length).ok_or(PickleError::Truncated)?;
        self.at += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| PickleError::Truncated)
    }

    fn line(&mut self) -> Result<String> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().take(256).position(|byte| *byte == b'\n');
        let line = self.take(end.ok_or(PickleError::Truncated)?)?;
        self.at += 1;
        String::from_utf8(line.to_vec()).map_err(|_| PickleError::Text)
    }

    /// A whole number of up to eight bytes, with its sign in the last one.
    fn long(&mut self) -> Result<()> {
        let at = self.at;
        let [length] = self.array()?;
        let bytes = self.take(length.into())?;
        if bytes.len() > 8 {
            return Err(PickleError::Word { word: 0x8a, at });
        }
        let fill = bytes.last().is_some_and(|last| last & 0x80 != 0);
        let mut number = [if fill { 0xff } else { 0 }; 8];
        number[..bytes.len()].copy_from_slice(bytes);
        self.push(Value::Int(i64::from_le_bytes(number)))
    }

    fn text(&mut self, length: usize) -> Result<()> {
        let text = self.take(length)?.to_vec();
        let text = String::from_utf8(text).map_err(|_| PickleError::Text)?;
        self.push_object(Object::Text(text))
    }

    fn raw(&mut self, length: usize) -> Result<()> {
        let bytes = self.take(length)?.to_vec();
        self.push_object(Object::Bytes(bytes))
    }

    fn count(&mut self, more: usize) -> Result<()> {
        self.values += more;
        if self.values > MAX_VALUES {
            return Err(PickleError::TooLarge);
        }
        Ok(())
    }

    fn push(&mut self, value: Value) -> Result<()> {
        self.count(1)?;
        self.stack.push(value);
        Ok(())
    }

    fn push_object(&mut self, object: Object) -> Result<()> {
        let index = self.objects.len() as u32;
        self.objects.push(object);
        self.push(Value::Object(index))
    }

    /// No word reaches below the last mark.
    fn pop(&mut self) -> Result<Value> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(PickleError::Stack);
        }
        self.stack.pop().ok_or(PickleError::Stack)
    }

    fn pop_text(&mut self) -> Result<String> {
        match self.pop()? {
            Value::Object(index) => match &self.objects[index as usize] {
                Object::Text(text) => Ok(text.clone()),
                _ => Err(PickleError::Stack),
            },
            _ => Err(PickleError::Stack),
        }
    }

    fn split_stack(&mut self, from: usize) -> Result<Vec<Value>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if from < floor || from > self.stack.len() {
            return Err(PickleError::Stack);
        }
        Ok(self.stack.split_off(from))
    }

    fn since_mark(&mut self) -> Result<Vec<Value>> {
        let from = self.marks.pop().ok_or(PickleError::Stack)?;
        self.split_stack(from)
    }

    fn top(&mut self) -> Result<&mut Object> {
        match self.stack.last() {
            Some(Value::Object(index)) => Ok(&mut self.objects[*index as usize]),
            _ => Err(PickleError::Stack),
        }
    }

    fn list(&mut self) -> Result<&mut Vec<Value>> {
        match self.top()? {
            Object::List(list) => Ok(list),
            _ => Err(PickleError::Stack),
        }
    }

    fn dict(&mut self) -> Result<&mut Vec<(Value, Value)>> {
        match self.top()? {
            Object::Dict(entries) => Ok(entries),
            _ => Err(PickleError::Stack),
        }
    }

    fn remember(&mut self, index: u32) -> Result<()> {
        let value = *self.stack.last().ok_or(PickleError::Stack)?;
        self.count(1)?;
        self.memo.insert(index, value);
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Result<()> {
        let value = *self.memo.get(&index).ok_or(PickleError::Stack)?;
        self.push(value)
    }

    /// The only names that do no harm: both make an array of numbers.
    fn named(&mut self, module: &str, name: &str) -> Result<()> {
        match (module, name) {
            ("array", "array") => self.push_object(Object::ArrayClass),
            ("array", "_array_reconstructor") => self.push_object(Object::ArrayMaker),
            _ => Err(PickleError::Name(format!("{module}.{name}"))),
        }
    }

    /// `array(typecode, list)`, or newer `_array_reconstructor(array, typecode, format, bytes)`.
    fn make_array(&mut self) -> Result<()> {
        let (arguments, callee) = (self.pop()?, self.pop()?);
        let (Value::Object(arguments), Value::Object(callee)) = (arguments, callee) else {
            return Err(PickleError::Stack);
        };
        let Object::Tuple(arguments) = &self.objects[arguments as usize] else {
            return Err(PickleError::Stack);
        };
        let numbers = match (&self.objects[callee as usize], arguments.as_slice()) {
            (Object::ArrayClass, [_, Value::Object(list)]) => {
                let list = *list as usize;
                // The list was made for the array alone; taking it halves the memory.
                let Object::List(items) = &mut self.objects[list] else {
                    return Err(PickleError::Stack);
                };
                let items = std::mem::take(items);
                let numbers: Option<Vec<u32>> = items.iter().map(|item| item.as_u32()).collect();
                numbers.ok_or(PickleError::Stack)?
            }
            (Object::ArrayMaker, [_, _, Value::Int(format), Value::Object(bytes)]) => {
                match &self.objects[*bytes as usize] {
                    Object::Bytes(bytes) => machine_numbers(*format, bytes)?,
                    _ => return Err(PickleError::Stack),
                }
            }
            _ => return Err(PickleError::Stack),
        };
        self.push_object(Object::Array(numbers))
    }
}

/// The numbers of an array by Python's "machine format code": unsigned, of one, two or four bytes.
fn machine_numbers(format: i64, bytes: &[u8]) -> Result<Vec<u32>> {
    let size = match format {
        0 => 1,
        2 | 3 => 2,
        6 | 7 => 4,
        _ => return Err(PickleError::Stack),
    };
    if !bytes.len().is_multiple_of(size) {
        return Err(PickleError::Truncated);
    }
    let is_big_endian = matches!(format, 3 | 7);
    let number = |bytes: &[u8]| {
        let fold = |number: u32, byte: &u8| number << 8 | u32::from(*byte);
        if is_big_endian {
            bytes.iter().fold(0, fold)
        } else {
            bytes.iter().rev().fold(0, fold)
        }
    };
    Ok(bytes.chunks(size).map(number).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_called() {
        // os.system('true'), in protocols 0 to 2 and 4.
        let calls: [&[u8]; 3] = [
            b"cos\nsystem\n(S'true'\ntR.",
            b"\x80\x02cos\nsystem\nU\x04true\x85R.",
            b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",
        ];
        for call in calls {
            assert!(matches!(read(call), Err(PickleError::Name(_))));
        }
        let build = b"\x80\x02carray\narray\n)\x81}b.";
        assert!(matches!(read(build), Err(PickleError::Word { word: 0x81, .. })));
    }

    #[test]
    fn broken_programs_are_errors() {
        let broken: [&[u8]; 10] = [
            b"",
            b".",
            b"e.",
            b"(e.",
            b"]u.",
            b"K\x01a.",
            b"h\x00.",
            b"(K\x01a.",
            b"\x86.",
            b"X\xff\xff\xff\xffab",
        ];
        for program in broken {
            assert!(read(program).is_err(), "{program:?}");
        }
    }

    #[test]
    fn both_forms_of_arrays_are_read() {
        let old = b"\x80\x02carray\narray\nU\x01H]q\x00(K\x01M\x00\x02e\x86R.";
        let pickle = read(old).unwrap();
        assert_eq!(pickle.numbers(pickle.root), Some(vec![1, 512]));
        let new =
            b"\x80\x04carray\n_array_reconstructor\n(carray\narray\n\x8c\x01HK\x02C\x04\x01\x00\x00\x02tR.";
        let pickle = read(new).unwrap();
        assert_eq!(pickle.numbers(pickle.root), Some(vec![1, 512]));
    }

    #[test]
    fn numbers_have_their_signs() {
        for (program, number) in [
            (&b"J\xff\xff\xff\xff."[..], -1),
            (b"\x8a\x01\xff.", -1),
            (b"\x8a\x00.", 0),
            (b"\x8a\x02\xff\x00.", 255),
        ] {
            assert_eq!(read(program).unwrap().root, Value::Int(number));
        }
    }
}
