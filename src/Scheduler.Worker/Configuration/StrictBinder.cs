using System.Collections;
using System.Globalization;
using System.Reflection;

namespace Scheduler.Worker.Configuration;

/// <summary>
/// Fills options from a configuration section and collects every error instead of stopping at the first; an unknown key is an error,
/// because a mistyped one would otherwise silently keep its default. A list in the configuration replaces the default.
/// </summary>
internal sealed class StrictBinder(ICollection<string> errors)
{
    /// <summary>Keys that belong to later versions: they may stand in a shared document, and a warning says that they do nothing
    /// here.</summary>
    public static readonly IReadOnlyList<string> LaterKeys = ["Scheduler:Operations:Tokens"];

    public T Bind<T>(IConfigurationSection section)
        where T : class, new()
    {
        var target = new T();
        Fill(target, section);
        return target;
    }

    private void Fill(object target, IConfigurationSection section)
    {
        var properties = target.GetType().GetProperties().Where(p => p.CanWrite).ToList();
        if (!section.GetChildren().Any() && !string.IsNullOrEmpty(section.Value))
        {
            errors.Add(
                $"{section.Path} is a single value; a section with {string.Join(", ", properties.Select(p => p.Name))} is expected."
            );
            return;
        }
        foreach (var child in section.GetChildren())
        {
            var property = properties.Find(p => p.Name.Equals(child.Key, StringComparison.OrdinalIgnoreCase));
            if (property is not null)
            {
                Set(target, property, child);
            }
            else if (!LaterKeys.Contains(child.Path, StringComparer.OrdinalIgnoreCase))
            {
                errors.Add($"{child.Path} is not a known key; known here: {Names.Near(child.Key, properties.Select(p => p.Name))}.");
            }
        }
    }

    private void Set(object target, PropertyInfo property, IConfigurationSection section)
    {
        var type = property.PropertyType;
        if (type.IsGenericType && type.GetGenericTypeDefinition() == typeof(List<>))
        {
            property.SetValue(target, List(type, section));
        }
        else if (type.IsGenericType && type.GetGenericTypeDefinition() == typeof(Dictionary<,>))
        {
            FillDictionary((IDictionary)property.GetValue(target)!, type.GetGenericArguments()[1], section);
        }
        else if (IsSection(type))
        {
            Fill(property.GetValue(target)!, section);
        }
        else if (section.GetChildren().Any())
        {
            errors.Add($"{section.Path} is a section or a list; a single value is expected ({Expected(type)}).");
        }
        else if (TryConvert(section, type, property.GetCustomAttribute<SecretAttribute>() is not null, out var value))
        {
            property.SetValue(target, value);
        }
    }

    private IList List(Type type, IConfigurationSection section)
    {
        var list = (IList)Activator.CreateInstance(type)!;
        if (!string.IsNullOrEmpty(section.Value))
        {
            errors.Add($"{section.Path} is a single value; a list is expected.");
        }
        foreach (var item in section.GetChildren())
        {
            if (Item(type.GetGenericArguments()[0], item) is { } value)
            {
                list.Add(value);
            }
        }
        return list;
    }

    private void FillDictionary(IDictionary dictionary, Type type, IConfigurationSection section)
    {
        if (!string.IsNullOrEmpty(section.Value))
        {
            errors.Add($"{section.Path} is a single value; a section is expected.");
        }
        foreach (var item in section.GetChildren())
        {
            if (Item(type, item) is { } value)
            {
                dictionary[item.Key] = value;
            }
        }
    }

    private object? Item(Type type, IConfigurationSection section)
    {
        if (IsSection(type))
        {
            var item = Activator.CreateInstance(type)!;
            Fill(item, section);
            return item;
        }
        if (section.GetChildren().Any())
        {
            errors.Add($"{section.Path} is a section or a list; a single value is expected ({Expected(type)}).");
            return null;
        }
        return TryConvert(section, type, secret: false, out var value) ? value : null;
    }

    private bool TryConvert(IConfigurationSection section, Type type, bool secret, out object? value)
    {
        var underlying = Nullable.GetUnderlyingType(type);
        var text = section.Value;
        if (string.IsNullOrEmpty(text) && (underlying is not null || type == typeof(string)))
        {
            value = null;
            return true;
        }
        value = Convert(text ?? "", underlying ?? type);
        if (value is null)
        {
            var shown = secret ? "not readable (not shown here)" : $"'{text}'";
            errors.Add($"{section.Path} is {shown}; {Expected(underlying ?? type)} is expected.");
        }
        return value is not null;
    }

    private static object? Convert(string text, Type type)
    {
        var culture = CultureInfo.InvariantCulture;
        if (type == typeof(string))
        {
            return text;
        }
        if (type == typeof(TimeSpan))
        {
            // Without the colon, .NET reads "10" as ten days.
            return text.Contains(':') && TimeSpan.TryParse(text, culture, out var time) ? time : null;
        }
        if (type == typeof(int))
        {
            return int.TryParse(text, NumberStyles.AllowLeadingSign, culture, out var number) ? number : null;
        }
        if (type == typeof(long))
        {
            return long.TryParse(text, NumberStyles.AllowLeadingSign, culture, out var number) ? number : null;
        }
        if (type == typeof(double))
        {
            return double.TryParse(text, NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint, culture, out var number)
                ? number
                : null;
        }
        // Enum.TryParse takes numbers too, even undefined ones.
        return type.IsEnum && Array.Find(Enum.GetNames(type), n => n.Equals(text, StringComparison.OrdinalIgnoreCase)) is { } name
            ? Enum.Parse(type, name)
            : null;
    }

    private static string Expected(Type type) =>
        type == typeof(TimeSpan) ? "a time such as 00:00:10 ([days.]hours:minutes:seconds)"
        : type == typeof(int) || type == typeof(long) ? "a whole number"
        : type == typeof(double) ? "a number such as 0.2"
        : type.IsEnum ? "one of " + string.Join(", ", Enum.GetNames(type))
        : "a text";

    private static bool IsSection(Type type) => type.IsClass && type != typeof(string);
}
