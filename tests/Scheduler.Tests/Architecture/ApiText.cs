using System.Globalization;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text;

namespace Scheduler.Tests.Architecture;

/// <summary>Writes the public and protected members of an assembly, sorted, one per line.</summary>
internal static class ApiText
{
    private const BindingFlags Declared =
        BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly;

    private static readonly Dictionary<Type, string> Keywords = new()
    {
        [typeof(void)] = "void",
        [typeof(bool)] = "bool",
        [typeof(byte)] = "byte",
        [typeof(int)] = "int",
        [typeof(long)] = "long",
        [typeof(double)] = "double",
        [typeof(string)] = "string",
        [typeof(object)] = "object",
    };

    public static string Of(Assembly assembly)
    {
        var text = new StringBuilder();
        foreach (var type in assembly.GetExportedTypes().OrderBy(t => FullName(t), StringComparer.Ordinal))
        {
            text.Append(Header(type)).Append('\n');
            foreach (var member in Members(type).Order(StringComparer.Ordinal))
            {
                text.Append("    ").Append(member).Append('\n');
            }
            text.Append('\n');
        }
        return text.ToString();
    }

    private static string Header(Type type)
    {
        var kind = type switch
        {
            { IsEnum: true } => "enum",
            { IsInterface: true } => "interface",
            { IsValueType: true } => "struct",
            _ when typeof(MulticastDelegate).IsAssignableFrom(type) => "delegate",
            { IsAbstract: true, IsSealed: true } => "static class",
            { IsAbstract: true } => "abstract class",
            { IsSealed: true } => "sealed class",
            _ => "class",
        };
        IEnumerable<Type> bases = type.IsEnum ? [] : type.GetInterfaces().Where(i => i.IsPublic && !IsImplied(type, i));
        var parents = bases.Select(FullName).Order(StringComparer.Ordinal);
        if (type.BaseType is { } parent && parent != typeof(object) && parent != typeof(ValueType) && parent != typeof(Enum))
        {
            parents = parents.Prepend(FullName(parent)).Order(StringComparer.Ordinal);
        }
        var list = string.Join(", ", parents);
        return $"{kind} {FullName(type)}{(list.Length == 0 ? "" : $" : {list}")}";
    }

    /// <summary>Whether an interface comes from the base class, or is a record's equality.</summary>
    private static bool IsImplied(Type type, Type implemented) =>
        type.BaseType?.GetInterfaces().Contains(implemented) == true
        || (
            implemented.IsGenericType
            && implemented.GetGenericTypeDefinition() == typeof(IEquatable<>)
            && implemented.GetGenericArguments()[0].IsAssignableFrom(type)
        );

    private static IEnumerable<string> Members(Type type)
    {
        if (type.IsEnum)
        {
            return Enum.GetNames(type).Select(n => $"{n} = {Convert.ToInt64(Enum.Parse(type, n), CultureInfo.InvariantCulture)}");
        }
        var constructors = type.GetConstructors(Declared).Where(IsVisible).Select(c => $"{Reach(c)}new({Parameters(c)})");
        var methods = type.GetMethods(Declared)
            .Where(m => IsVisible(m) && !IsAccessor(m) && !IsGenerated(m) && !IsObjectOverride(m))
            .Select(m => $"{Reach(m)}{Static(m)}{Name(m.ReturnType)} {m.Name}{Generic(m)}({Parameters(m)})");
        var properties = type.GetProperties(Declared)
            .Where(p => p.GetAccessors(nonPublic: true).Any(IsVisible) && !IsGenerated(p) && p.Name != "EqualityContract")
            .Select(Property);
        var fields = type.GetFields(Declared)
            .Where(f => f.IsPublic || f.IsFamily)
            .Select(f =>
                f.IsLiteral
                    ? $"const {Name(f.FieldType)} {f.Name} = {Literal(f.GetRawConstantValue())}"
                    : $"{(f.IsStatic ? "static " : "")}{(f.IsInitOnly ? "readonly " : "")}{Name(f.FieldType)} {f.Name}"
            );
        var events = type.GetEvents(Declared)
            .Where(e => e.AddMethod is { } add && IsVisible(add))
            .Select(e => $"event {Name(e.EventHandlerType!)} {e.Name}");
        return [.. constructors, .. methods, .. properties, .. fields, .. events];
    }

    private static string Property(PropertyInfo property)
    {
        var get = property.GetMethod is { } getter && IsVisible(getter) ? "get; " : "";
        var set = "";
        if (property.SetMethod is { } setter && IsVisible(setter))
        {
            set = setter.ReturnParameter.GetRequiredCustomModifiers().Contains(typeof(IsExternalInit)) ? "init; " : "set; ";
        }
        var required = property.IsDefined(typeof(RequiredMemberAttribute)) ? "required " : "";
        var accessor = property.GetAccessors(nonPublic: true).First(IsVisible);
        return $"{required}{Reach(accessor)}{Static(accessor)}{Name(property.PropertyType)} {property.Name} {{ {get}{set}}}";
    }

    private static string Parameters(MethodBase method) =>
        string.Join(
            ", ",
            method
                .GetParameters()
                .Select(p => $"{(p.IsOut ? "out " : "")}{Name(p.ParameterType)} {p.Name}{(p.HasDefaultValue ? $" = {Default(p)}" : "")}")
        );

    private static string Default(ParameterInfo parameter) =>
        parameter.DefaultValue is null && parameter.ParameterType.IsValueType ? "default" : Literal(parameter.DefaultValue);

    private static string Literal(object? value) =>
        value switch
        {
            null => "null",
            string text => $"\"{text}\"",
            bool flag => flag ? "true" : "false",
            _ => Convert.ToString(value, CultureInfo.InvariantCulture) ?? "",
        };

    private static bool IsVisible(MethodBase method) => method.IsPublic || method.IsFamily || method.IsFamilyOrAssembly;

    private static bool IsAccessor(MethodInfo method) => method.IsSpecialName && !method.Name.StartsWith("op_", StringComparison.Ordinal);

    private static bool IsGenerated(MemberInfo member) =>
        member.IsDefined(typeof(CompilerGeneratedAttribute)) || member.Name.Contains('<', StringComparison.Ordinal);

    private static bool IsObjectOverride(MethodInfo method) => method.GetBaseDefinition().DeclaringType == typeof(object);

    private static string Reach(MethodBase method) => method.IsPublic ? "" : "protected ";

    private static string Static(MethodBase method) => method.IsStatic ? "static " : "";

    private static string Generic(MethodInfo method) =>
        method.IsGenericMethod ? $"<{string.Join(", ", method.GetGenericArguments().Select(a => a.Name))}>" : "";

    private static string FullName(Type type) =>
        type.IsGenericParameter ? type.Name : $"{(type.DeclaringType is { } outer ? FullName(outer) : type.Namespace)}.{Simple(type)}";

    private static string Name(Type type)
    {
        if (type.IsByRef)
        {
            return $"ref {Name(type.GetElementType()!)}";
        }
        if (type.IsArray)
        {
            return $"{Name(type.GetElementType()!)}[]";
        }
        if (Nullable.GetUnderlyingType(type) is { } value)
        {
            return $"{Name(value)}?";
        }
        var nested = type is { IsNested: true, IsGenericParameter: false } ? $"{Name(type.DeclaringType!)}." : "";
        return Keywords.TryGetValue(type, out var keyword) ? keyword : nested + Simple(type);
    }

    private static string Simple(Type type)
    {
        var name = type.Name;
        var tick = name.IndexOf('`', StringComparison.Ordinal);
        return tick < 0 ? name : $"{name[..tick]}<{string.Join(", ", type.GetGenericArguments().Select(Name))}>";
    }
}
